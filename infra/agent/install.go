package agent

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/berth-dev/berth/infra/agent/wire"
	"github.com/berth-dev/berth/infra/docker"
)

// A container of the engine that is, or becomes, a node.
type container struct {
	engine *docker.Client
	name   string
}

// open starts the agent. The first attempt takes for granted that the binary is
// there, which is the common case and needs no question of its own. One that does not say
// hello, or is not ours, is replaced.
func (c container) open(ctx context.Context) (*wire.Client, error) {
	stream, err := c.engine.Pipe(ctx, c.name, []string{Path, "serve"})
	if err != nil && !strings.Contains(err.Error(), Path) { // engines that refuse the exec name the missing file
		return nil, err
	}
	if err == nil {
		session, err := wire.NewClient(ctx, stream)
		if err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			current, err := isCurrent(session.Hello)
			if current {
				return session, nil
			}
			if err = errors.Join(err, session.Close()); err != nil {
				return nil, err
			}
		}
	}
	if err := Install(ctx, c.engine, c.name); err != nil {
		return nil, err
	}
	if stream, err = c.engine.Pipe(ctx, c.name, []string{Path, "serve"}); err != nil {
		return nil, err
	}
	return wire.NewClient(ctx, stream)
}

func isCurrent(hello wire.Hello) (bool, error) {
	hash, err := Hash(hello.Arch)
	return hello.Binary == hash, err
}

// Install puts the agent's binary into a container that exists, running or not.
func Install(ctx context.Context, engine *docker.Client, container string) error {
	arch, err := engine.Arch(ctx)
	if err != nil {
		return err
	}
	binary, err := Binary(arch)
	if err != nil {
		return err
	}
	files, err := archive(binary)
	if err != nil {
		return err
	}
	return engine.CopyTo(ctx, container, "/", files)
}

// archive packs the binary with its folder, which may be missing.
func archive(binary []byte) (io.Reader, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err := errors.Join(
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(Dir, "/") + "/", Mode: 0o755}),
		// Called by this name it is the supervisor: pods mount Dir as /.berth and run /.berth/init.
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(path.Join(Dir, "init"), "/"), Linkname: Name, Mode: 0o777}),
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(path.Join(Dir, Name), "/"), Mode: 0o755, Size: int64(len(binary))}),
	)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(binary); err != nil {
		return nil, err
	}
	return &buf, w.Close()
}
