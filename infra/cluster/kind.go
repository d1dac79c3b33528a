package cluster

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/exec"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
)

// runKind has kind create the cluster. After a berth that was killed (again is
// true) its docker commands live on for a while, and may make nodes after
// leftovers were looked for: what is there then is cleared and kind runs again.
func (m *Manager) runKind(ctx context.Context, s Spec, config *v1alpha4.Cluster, again bool, logger kindLogger) error {
	provider, err := m.provider(logger)
	if err != nil {
		return err
	}
	create := func() error {
		return provider.Create(s.Name, cluster.CreateWithV1Alpha4Config(config.DeepCopy()))
	}
	const attempts = 4
	for attempt := 1; ; attempt++ {
		err = m.abandonable(ctx, s.Name, create)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if !again || attempt == attempts || !nameTaken(kindOutput(err)) {
			return createProblem(s, err)
		}
		logger.say("removing what an interrupted command left")
		if err := m.clear(ctx, s.Name); err != nil {
			return err
		}
	}
}

// nameTaken reports whether kind found a node of the cluster that it did not
// make.
func nameTaken(text string) bool {
	return strings.Contains(text, "is already in use by container") || strings.Contains(text, "already exist for a cluster")
}

// abandonable runs an operation of kind's, which knows no context. When ctx
// ends, the nodes are taken from under it, which makes its docker commands
// fail; it returns only when kind has come to its end and no node is left.
func (m *Manager) abandonable(ctx context.Context, name string, op func() error) error {
	var result error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		result = op()
	}()
	select {
	case <-ended:
		return result
	case <-ctx.Done():
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for {
		err := m.clear(clean, name)
		select {
		case <-ended: // it fails, because its nodes are gone
			return errors.Join(ctx.Err(), m.clear(clean, name))
		case <-time.After(100 * time.Millisecond):
		}
		if clean.Err() != nil {
			return errors.Join(ctx.Err(), err, problem.New(fmt.Sprintf("clean up cluster %q", name), clean.Err(), "berth cluster delete "+name))
		}
	}
}

// kindOutput is what kind's error says, with the output of the command that
// failed.
func kindOutput(err error) string {
	text := err.Error()
	if run := exec.RunErrorForError(err); run != nil {
		text += "\n" + string(run.Output)
	}
	return text
}

// noise are lines of kubeadm that give no reason: klog's information, and the
// stack trace after an error, two lines a call.
var noise = regexp.MustCompile(`(?m)^I\d{4} \d\d:.*\n|^\S+\n\t\S+\.(go|s):\d+(\n|$)`)

// reasons are the lines of a failed command's output that may say why.
func reasons(text string) []string {
	return strings.Split(strings.TrimSpace(noise.ReplaceAllString(text, "")), "\n")
}

// createProblem keeps the end of the failed command's output and knows some
// causes.
func createProblem(s Spec, err error) error {
	const keep = 15 // lines: kubeadm ends with its reason
	text := strings.TrimSpace(kindOutput(err))
	hint := "`berth doctor` looks for the usual causes"
	switch {
	case strings.Contains(text, "too many open files"):
		hint = "raise the inotify limits: sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288"
	case strings.Contains(text, "port is already allocated"), strings.Contains(text, "address already in use"):
		hint = "choose other ports with --http-port and --https-port"
	case strings.Contains(text, "no space left on device"):
		hint = docker.FreeSpace
	}
	lines := reasons(text)
	if len(lines) > keep+1 {
		lines = append(lines[:1], lines[len(lines)-keep:]...)
	}
	return problem.New(fmt.Sprintf("create cluster %q", s.Name), errors.New(strings.Join(lines, "\n  ")), hint)
}
