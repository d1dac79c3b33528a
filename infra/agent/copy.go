package agent

import (
	"context"
	"io"
	"io/fs"

	"github.com/berth-dev/berth/infra/agent/wire"
)

// FileInfo is what there is at a path of a container.
type FileInfo struct {
	Mode fs.FileMode
	Size int64
	Link string // of a symbolic link: where it leads
}

// Stat looks at a path of a running container of this node, as its processes
// see it; follow asks for what a link at its end leads to. Nothing there is
// fs.ErrNotExist.
func (n *Node) Stat(ctx context.Context, container, path string, follow bool) (FileInfo, error) {
	var v wire.StatValue
	err := n.once(ctx, wire.OpStat, wire.StatArgs{Container: container, Path: path, Follow: follow}, nil, nil, &v)
	return FileInfo(v), err
}

// Archive writes what is at a path of a running container, and below, to out
// as a tar whose root is called base. The image needs no program for it.
func (n *Node) Archive(ctx context.Context, container, path string, follow bool, base string, out io.Writer) error {
	args := wire.ArchiveArgs{StatArgs: wire.StatArgs{Container: container, Path: path, Follow: follow}, Base: base}
	return n.once(ctx, wire.OpArchive, args, nil, out, nil)
}

// Extract unpacks a tar into a directory of a running container. Everything
// belongs to root then, or with owners to whom the tar says.
func (n *Node) Extract(ctx context.Context, container, dir string, owners bool, in io.Reader) (entries int, err error) {
	var v wire.ExtractValue
	err = n.once(ctx, wire.OpExtract, wire.ExtractArgs{Container: container, Dir: dir, Owners: owners}, in, nil, &v)
	return v.Entries, err
}
