package serve

import (
	"fmt"
	"io"

	"github.com/berth-dev/berth/infra/agent/rootfs"
	"github.com/berth-dev/berth/infra/agent/wire"
)

func stat(a wire.StatArgs) (wire.StatValue, error) {
	c, err := rootfs.OpenContainer(a.Container)
	if err != nil {
		return wire.StatValue{}, err
	}
	defer c.Close()
	info, err := c.Stat(a.Path, a.Follow)
	return wire.StatValue{Mode: info.Mode, Size: info.Size, Link: info.Link}, err
}

func archive(a wire.ArchiveArgs, out io.Writer) error {
	c, err := rootfs.OpenContainer(a.Container)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Archive(a.Path, a.Follow, a.Base, out)
}

func extract(a wire.ExtractArgs, in io.Reader) (wire.ExtractValue, error) {
	c, err := rootfs.OpenContainer(a.Container)
	if err != nil {
		return wire.ExtractValue{}, err
	}
	defer c.Close()
	n, err := c.Extract(a.Dir, in, a.Owners)
	if err == nil {
		// What follows a tar's end is nothing to us, but it must be read.
		_, err = io.Copy(io.Discard, in)
	}
	if err != nil {
		return wire.ExtractValue{}, fmt.Errorf("after %d entries: %w", n, err)
	}
	return wire.ExtractValue{Entries: n}, nil
}
