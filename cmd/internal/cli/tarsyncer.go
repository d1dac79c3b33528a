package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// tarSyncer acts inside containers of a cluster that berth did not create and
// whose nodes have no agent: with tar and rm of the image, through the API
// server. Programs cannot be restarted there: rules that ask for it rebuild.
type tarSyncer struct{ *syncer }

// Sync carries out file operations with tar and rm of the image.
func (s tarSyncer) Sync(ctx context.Context, pod model.PodState, files []model.FileSync) error {
	for _, step := range tarSteps(files) {
		command, stdin := append([]string{"rm", "-rf", "--"}, step.remove...), io.Reader(nil)
		if step.remove == nil {
			archive, err := tarOf(step.write)
			if err != nil {
				return err
			}
			command, stdin = []string{"tar", "-xf", "-", "-C", "/"}, archive
		}
		var out bytes.Buffer
		err := s.kube.Exec(ctx, s.namespace, pod.Name, kube.ExecOptions{
			Container: pod.Container, Command: command, Stdin: stdin, Stdout: &out, Stderr: &out,
		})
		if err != nil && strings.Contains(err.Error(), "executable file not found") {
			return problem.New(fmt.Sprintf("sync into pod %q", pod.Name), fmt.Errorf("its image has no %s", command[0]),
				"on a cluster that berth did not create files are synced with tar and rm of the image: use the action rebuild, or an image that has them")
		}
		if err != nil {
			return errors.Join(err, errors.New(strings.TrimSpace(out.String())))
		}
	}
	return nil
}

// Restart is not possible: nothing starts the program again in its container.
func (tarSyncer) Restart(context.Context, model.PodState) error { return devloop.ErrNoSupervisor }

// AwaitProgram is not possible: nobody watches the program.
func (tarSyncer) AwaitProgram(context.Context, model.PodState, model.Program) (model.Program, error) {
	return model.Program{}, devloop.ErrNoSupervisor
}

// tarStep is a run of operations of one kind.
type tarStep struct {
	remove []string // targets
	write  []model.FileSync
}

// tarSteps divides operations into runs that one command carries out, in order.
func tarSteps(files []model.FileSync) []tarStep {
	var steps []tarStep
	for _, f := range files {
		last := len(steps) - 1
		switch removal := f.Op == model.FileRemoved; {
		case last >= 0 && removal && steps[last].remove != nil:
			steps[last].remove = append(steps[last].remove, f.Target)
		case removal:
			steps = append(steps, tarStep{remove: []string{f.Target}})
		case last >= 0 && steps[last].remove == nil:
			steps[last].write = append(steps[last].write, f)
		default:
			steps = append(steps, tarStep{write: []model.FileSync{f}})
		}
	}
	return steps
}

// tarOf packs files for the root of a container. What has vanished is left
// out: its removal follows.
func tarOf(files []model.FileSync) (io.Reader, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		if err := addToTar(w, f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return &buf, w.Close()
}

func addToTar(w *tar.Writer, f model.FileSync) error {
	info, err := os.Lstat(f.Source)
	if err != nil {
		return err
	}
	link, content := "", []byte(nil)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		link, err = os.Readlink(f.Source)
	case info.Mode().IsRegular():
		content, err = os.ReadFile(f.Source)
	}
	if err != nil {
		return err
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	header.Name = strings.TrimPrefix(f.Target, "/")
	if info.IsDir() {
		header.Name += "/"
	}
	header.Size = int64(len(content)) // as it was read
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}
