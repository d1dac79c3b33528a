package apply

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

// A KeptLine is a line that a service wrote before it finished. The pod is gone,
// and the cluster's own log with it.
type KeptLine struct {
	Service, Pod string
	Time         time.Time
	Text         string
}

// keptLog is how long annotationLog may be, in bytes: all annotations of an
// object share 256 KiB.
const keptLog = 96 << 10

// KeptLogs returns the lines of all finished services that o chooses, the oldest
// first.
func (p *Project) KeptLogs(ctx context.Context, o kube.LogOptions) ([]KeptLine, error) {
	deployments, err := p.client.ListAny(ctx, schema.GroupKind{Group: "apps", Kind: "Deployment"}, p.namespace, model.LabelService)
	if err != nil {
		return nil, err
	}
	var all []KeptLine
	for _, d := range deployments {
		text := d.GetAnnotations()[annotationLog]
		if text == "" {
			continue
		}
		lines, err := decodeLog(text)
		if err != nil {
			return nil, fmt.Errorf("read the log that Deployment %q keeps: %w", d.GetName(), err)
		}
		all = append(all, chosenLines(lines, o)...)
	}
	slices.SortStableFunc(all, func(a, b KeptLine) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// chosenLines are the lines of one service that o chooses.
func chosenLines(lines []KeptLine, o kube.LogOptions) []KeptLine {
	lines = slices.DeleteFunc(lines, func(l KeptLine) bool {
		return l.Time.Before(o.Since) || !o.Until.IsZero() && l.Time.After(o.Until)
	})
	if o.Tail >= 0 && len(lines) > o.Tail {
		lines = lines[len(lines)-o.Tail:]
	}
	return lines
}

// lastRun is what the pods of a service wrote in the run that ended, as
// annotationLog keeps it. What cannot be read goes with the pods: that a service
// has finished is true without it.
func (p *Project) lastRun(ctx context.Context, service string) string {
	ctx, cancel := context.WithTimeout(ctx, linesFor)
	defer cancel()
	pods, err := p.servicePods(ctx, service)
	if err != nil {
		return ""
	}
	var lines []KeptLine
	for _, pod := range pods {
		for _, s := range pod.Status.ContainerStatuses {
			o := kube.LogOptions{Container: s.Name, Tail: -1, Previous: s.LastTerminationState.Terminated != nil} // it may have begun anew
			_ = p.client.Logs(ctx, p.namespace, pod.Name, o, func(l kube.LogLine) {
				lines = append(lines, KeptLine{ServiceOf(&pod, s.Name), pod.Name, l.Time, l.Text})
			})
		}
	}
	slices.SortStableFunc(lines, func(a, b KeptLine) int { return a.Time.Compare(b.Time) })
	return encodeLog(lines)
}

// encodeLog makes an annotation of as many of the last lines as it has room for,
// and says how many it left out.
func encodeLog(lines []KeptLine) string {
	if len(lines) == 0 {
		return ""
	}
	for left := 0; ; left += (len(lines) - left + 1) / 2 {
		kept := lines[left:]
		if left > 0 {
			note := lines[left-1]
			note.Text = fmt.Sprintf("... (%d lines are gone with the pod)", left)
			kept = append([]KeptLine{note}, kept...)
		}
		if text := packed(kept); len(text) <= keptLog || left == len(lines) {
			return text
		}
	}
}

func packed(lines []KeptLine) string {
	var b bytes.Buffer
	text := base64.NewEncoder(base64.StdEncoding, &b)
	zip := gzip.NewWriter(text)
	_ = json.NewEncoder(zip).Encode(lines) // nothing that can fail: strings and times, into memory
	_ = zip.Close()
	_ = text.Close()
	return b.String()
}

func decodeLog(text string) ([]KeptLine, error) {
	zip, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader([]byte(text))))
	if err != nil {
		return nil, err
	}
	const most = 64 << 20 // no log that we keep unpacks to more
	var lines []KeptLine
	err = json.NewDecoder(io.LimitReader(zip, most)).Decode(&lines)
	return lines, err
}
