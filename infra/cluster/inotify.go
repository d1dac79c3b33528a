package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// Inotify instances: what a node uses up when nothing runs on it (a worker 15,
// a control plane 28), what to leave for pods and the rest of the machine, and
// what kind's documents ask for.
const (
	instancesPerNode = 20
	instancesSpare   = 60
	instancesWanted  = 512
)

// inotifyPath is where the kernel keeps the limit. It counts for all
// containers of a user together: every node of every cluster.
const inotifyPath = "/proc/sys/fs/inotify/max_user_instances"

// A limit is a number that the kernel keeps.
type limit struct {
	read  func() ([]byte, error)
	write func(text []byte) error
}

func inotifyLimit() limit {
	return limit{
		read:  func() ([]byte, error) { return os.ReadFile(inotifyPath) },
		write: func(text []byte) error { return os.WriteFile(inotifyPath, text, 0) },
	}
}

// ensureInotify raises a low limit of inotify instances: when the nodes, those
// that run already and those to be made, go beyond it, kubelets and proxies
// end with "too many open files". It says what it does; where it may not, it
// says what to do.
func ensureInotify(kernel limit, s Spec, host docker.Host, running int, sink progress.Sink) error {
	if !host.Local {
		return nil
	}
	text, err := kernel.read()
	if err != nil {
		return nil // a kernel without the limit
	}
	now, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", inotifyPath, err)
	}
	nodes := running + s.ControlPlanes + *s.Workers
	need := nodes*instancesPerNode + instancesSpare
	wanted := max(need, instancesWanted)
	if now >= wanted {
		return nil
	}
	task := "cluster " + s.Name
	if err := kernel.write([]byte(strconv.Itoa(wanted))); err == nil {
		progress.Say(sink, progress.Note, task, fmt.Sprintf(
			"raised fs.inotify.max_user_instances from %d to %d until the machine restarts", now, wanted))
		return nil
	}
	if now >= need {
		return nil
	}
	cure := fmt.Sprintf("sudo sysctl fs.inotify.max_user_instances=%d", wanted)
	if now < nodes*instancesPerNode {
		return problem.New(fmt.Sprintf("create cluster %q", s.Name),
			fmt.Errorf("%d nodes need about %d inotify instances and the kernel allows %d", nodes, need, now), cure)
	}
	progress.Say(sink, progress.Warn, task, fmt.Sprintf(
		"the kernel allows %d inotify instances, %d nodes need about %d; if a node fails with \"too many open files\": %s", now, nodes, need, cure))
	return nil
}
