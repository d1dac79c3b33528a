package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// tarSyncer acts inside containers of a cluster that berth did not create and
// whose nodes have no agent: with programs of the image, through the API
// server. Programs cannot be restarted there: rules that ask for it rebuild.
type tarSyncer struct{ *syncer }

// Sync carries out file operations with the shell and tar of the image.
func (s tarSyncer) Sync(ctx context.Context, pod model.PodState, files []model.FileSync) error {
	return tarSync(ctx, func(ctx context.Context, command []string, stdin io.Reader) (string, error) {
		var stdout, stderr bytes.Buffer
		err := s.kube.Exec(ctx, s.namespace, pod.Name, kube.ExecOptions{
			Container: pod.Container, Command: command, Stdin: stdin, Stdout: &stdout, Stderr: &stderr,
		})
		var status *kube.ExitError
		if err != nil && strings.Contains(err.Error(), "executable file not found") || errors.As(err, &status) && status.Code == notFound {
			return "", problem.New(fmt.Sprintf("sync into pod %q", pod.Name), fmt.Errorf("its image has no %s: %w", missing(command, stderr.String()), devloop.ErrCannotSync),
				"on a cluster that berth did not create files are synced with sh, stat, rm, mkdir and tar of the image: use the action rebuild, or an image that has them")
		}
		if err != nil {
			return "", errors.Join(err, errors.New(strings.TrimSpace(stderr.String())))
		}
		return stdout.String(), nil
	}, files)
}

// missing is the program that a container lacks: the one that was run, or the
// one that its shell names.
func missing(command []string, stderr string) string {
	if name, found := strings.CutPrefix(strings.TrimSpace(stderr), lacks); found {
		return name
	}
	return command[0]
}

// Restart is not possible: nothing starts the program again in its container.
func (tarSyncer) Restart(context.Context, model.PodState) (model.Program, error) {
	return model.Program{}, devloop.ErrNoSupervisor
}

// AwaitProgram is not possible: nobody watches the program.
func (tarSyncer) AwaitProgram(context.Context, model.PodState, model.Program) (model.Program, error) {
	return model.Program{}, devloop.ErrNoSupervisor
}
