package translate

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// podLabels returns the labels of the pods of u, which run units: berth's, the
// networks', and compose's own where Kubernetes takes them.
func (t *translator) podLabels(u *unit, units []*unit, aliases map[string]string) map[string]string {
	labels := t.labels(u)
	t.labelNetworks(labels, u)
	maps.Copy(labels, aliases)
	if t.drains(u) {
		labels[labelServes] = "true"
	}
	for name, value := range podTexts(units, labelsOf) {
		if _, ours := labels[name]; !ours && mayLabel(u.kind, name, value) {
			labels[name] = value
		}
	}
	return labels
}

// mayLabel reports whether pods of a workload of that kind may carry a label
// that the user gives them.
func mayLabel(k kind, name, value string) bool {
	return isQualifiedName(name) && isLabelValue(value) && (!k.oneShot() || !jobLabels[name])
}

// jobLabels are labels that the API server itself gives to the pods of Jobs: it
// refuses others of the name.
var jobLabels = map[string]bool{
	"job-name": true, "controller-uid": true, "batch.kubernetes.io/job-name": true, "batch.kubernetes.io/controller-uid": true,
}

// podAnnotations returns compose's labels and annotations as annotations.
func (t *translator) podAnnotations(u *unit, units []*unit) map[string]string {
	out := map[string]string{}
	foreignKeys(out, podTexts(units, labelsOf), nil)
	foreignKeys(out, podTexts(units, annotationsOf), nil)
	if u.kube != u.name {
		out[annotationName] = u.name
	}
	return out
}

// maxLabels bounds the labels of one kind that are kept as annotations, in
// bytes: an object of Kubernetes has 256 KiB for all its annotations.
const maxLabels = 100 << 10

// fitting splits labels into those that annotations have room for, taken by
// name, and the names of the others.
func fitting(labels map[string]string) (kept map[string]string, left []string) {
	total := 0
	for name, value := range labels {
		total += labelSize(name, value)
	}
	if total <= maxLabels {
		return labels, nil
	}
	kept, total = map[string]string{}, 0
	for _, name := range sortedKeys(labels) {
		size := labelSize(name, labels[name])
		if total+size > maxLabels {
			left = append(left, name)
			continue
		}
		kept[name], total = labels[name], total+size
	}
	return kept, left
}

// labelSize is what a label takes as an annotation: odd names stand in JSON.
func labelSize(name, value string) int {
	if isQualifiedName(name) {
		return len(name) + len(value)
	}
	text, err := json.Marshal(map[string]string{name: value})
	if err != nil {
		return len(name) + len(value) // it is a map of strings
	}
	return len(text)
}

// foreignKeys adds the labels of a compose file to annotations, as many as
// there is room for: as they are where Kubernetes allows the key, else together
// as JSON. What is in kept with the same value is left out.
func foreignKeys(annotations map[string]string, labels map[string]string, kept map[string]string) {
	var odd map[string]string
	labels, _ = fitting(labels)
	for name, value := range labels {
		if v, ok := kept[name]; ok && v == value {
			continue
		}
		if isQualifiedName(name) {
			annotations[name] = value
			continue
		}
		if odd == nil {
			odd = map[string]string{}
		}
		odd[name] = value
	}
	if len(odd) == 0 {
		return
	}
	if before, ok := annotations[annotationLabels]; ok {
		was := map[string]string{}
		if json.Unmarshal([]byte(before), &was) == nil {
			for name, value := range was {
				if _, ok := odd[name]; !ok {
					odd[name] = value
				}
			}
		}
	}
	if text, err := json.Marshal(odd); err == nil {
		annotations[annotationLabels] = string(text)
	}
}

// mergedLabels returns the labels of both, those of more winning.
func mergedLabels(labels, more map[string]string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, more)
	return out
}

// reportOdd says which of own are kept in an annotation of berth's: they could
// be none in Kubernetes.
func (t *translator) reportOdd(path string, own, kept map[string]string) {
	var odd []string
	for _, name := range sortedKeys(own) {
		if _, ok := kept[name]; ok && !isQualifiedName(name) {
			odd = append(odd, fmt.Sprintf("%q", name))
		}
	}
	if len(odd) > 0 {
		t.report.approximated(path, "kept in the annotation "+annotationLabels+", because Kubernetes has no such keys: "+strings.Join(odd, ", "), "")
	}
}

// reportLeft says which labels annotations have no room for.
func (t *translator) reportLeft(path string, labels map[string]string) {
	_, left := fitting(labels)
	for _, name := range left {
		t.report.dropped(path, fmt.Sprintf("%q is left out: annotations have room for %d bytes of labels", name, maxLabels), "")
	}
}
