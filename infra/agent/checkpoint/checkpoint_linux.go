package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/infra/agent/tree"
)

// What stands in the engine's folder of a volume: the data, and, while a
// checkpoint is brought back, the data that come and those that go.
const (
	liveDir    = "_data"
	partialDir = "berth-partial" // being built
	nextDir    = "berth-next"    // complete
	formerDir  = "berth-former"  // replaced
)

// reserve is what must stay free on the engine's disk, in bytes.
const reserve = 256 << 20

// Save copies the state of every node into the folder store, which is empty,
// and calls say once for each node when all are copied and the nodes may go on.
// It returns when everything is on the disk.
func Save(ctx context.Context, store string, nodes []Node, say func(Message)) error {
	sources := make([]source, len(nodes))
	var need int64
	for i, n := range nodes {
		s, err := newSource(filepath.Join(n.Volume, liveDir))
		if err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
		size, err := s.size(ctx)
		if err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
		sources[i], need = s, need+size
	}
	if err := checkSpace(store, need); err != nil {
		return err
	}
	stats := make([]tree.Stats, len(nodes))
	err := each(nodes, func(i int, n Node) (err error) {
		stats[i], err = sources[i].copy(ctx, filepath.Join(store, n.Name))
		return err
	})
	if err != nil {
		return err
	}
	for i, n := range nodes {
		say(Message{Phase: PhaseCopied, Node: n.Name, Copied: stats[i].Bytes, Linked: stats[i].Linked, Files: stats[i].Entries})
	}
	return toDisk(store)
}

// Prepare builds the state that each node has in store beside the node's own,
// which goes on being used. What an interrupted Prepare left is removed, what
// a complete one left is kept.
func Prepare(ctx context.Context, store string, nodes []Node) error {
	lacking := slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return exists(filepath.Join(n.Volume, nextDir)) })
	sources := make([]source, len(lacking))
	sizes := make([]int64, len(lacking))
	err := each(lacking, func(i int, n Node) (err error) {
		if err = os.RemoveAll(filepath.Join(n.Volume, partialDir)); err != nil {
			return err
		}
		if sources[i], err = newSource(filepath.Join(store, n.Name)); err != nil {
			return err
		}
		sizes[i], err = sources[i].size(ctx)
		return err
	})
	if err != nil || len(lacking) == 0 {
		return err
	}
	var need int64
	for _, size := range sizes { // the volumes of all nodes are on one disk
		need += size
	}
	if err := checkSpace(lacking[0].Volume, need); err != nil {
		return err
	}
	err = each(lacking, func(i int, n Node) error {
		_, err := sources[i].copy(ctx, filepath.Join(n.Volume, partialDir))
		return err
	})
	if err != nil {
		return err
	}
	if err := toDisk(lacking[0].Volume); err != nil {
		return err
	}
	return each(lacking, func(_ int, n Node) error {
		return os.Rename(filepath.Join(n.Volume, partialDir), filepath.Join(n.Volume, nextDir))
	})
}

// Swap puts the prepared state of every node in place. The nodes must not run.
// Where nothing is prepared it was done before.
func Swap(nodes []Node) error {
	err := each(nodes, func(_ int, n Node) error {
		live, next, former := filepath.Join(n.Volume, liveDir), filepath.Join(n.Volume, nextDir), filepath.Join(n.Volume, formerDir)
		if !exists(next) {
			if !exists(live) {
				return errors.New("its state is gone")
			}
			return nil
		}
		if exists(live) {
			if err := keepFlags(live, next); err != nil {
				return err
			}
			if err := os.RemoveAll(former); err != nil {
				return err
			}
			if err := os.Rename(live, former); err != nil {
				return err
			}
		}
		return os.Rename(next, live)
	})
	if err != nil || len(nodes) == 0 {
		return err
	}
	return toDisk(nodes[0].Volume) // the volumes of all nodes are on one disk
}

// flagsFile is the one file that belongs to the node and not to the state that is
// brought back: the entry point of kind's node image puts the node's address there
// when it has changed since the node's last start, which it knows from a file
// outside of the state.
const flagsFile = "lib/kubelet/kubeadm-flags.env"

// keepFlags gives the state in next the flags that live has.
func keepFlags(live, next string) error {
	flags, err := os.ReadFile(filepath.Join(live, flagsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no kubelet has been there
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(next, flagsFile), flags, 0o644)
}

// Forget removes what another Prepare built, complete or not.
func Forget(nodes []Node) error {
	return each(nodes, func(_ int, n Node) error {
		if err := os.RemoveAll(filepath.Join(n.Volume, partialDir)); err != nil {
			return err
		}
		live, next := filepath.Join(n.Volume, liveDir), filepath.Join(n.Volume, nextDir)
		if !exists(live) && exists(next) { // its Swap was interrupted between the two renames
			return os.Rename(next, live)
		}
		return os.RemoveAll(next)
	})
}

// Clean removes everything beside the nodes' state.
func Clean(nodes []Node) error {
	return each(nodes, func(_ int, n Node) error {
		var errs []error
		for _, dir := range []string{partialDir, nextDir, formerDir} {
			errs = append(errs, os.RemoveAll(filepath.Join(n.Volume, dir)))
		}
		return errors.Join(errs...)
	})
}

// A source is a node's state, live or saved.
type source struct {
	dir        string
	unchanging map[string]bool
}

func newSource(dir string) (source, error) {
	if !exists(dir) {
		return source{}, fmt.Errorf("%s: %w", dir, fs.ErrNotExist)
	}
	found, err := unchanging(dir)
	if err != nil {
		return source{}, fmt.Errorf("read containerd's list of image layers: %w", err)
	}
	return source{dir: dir, unchanging: found}, nil
}

// size is how much copy will take of the disk, in bytes, but for directories.
func (s source) size(ctx context.Context) (int64, error) {
	var total int64
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if s.unchanging[path] {
				return fs.SkipDir
			}
			return context.Cause(ctx)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		total += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return total, err
}

// copy copies the state to dst, which must not exist.
func (s source) copy(ctx context.Context, dst string) (tree.Stats, error) {
	if err := os.Mkdir(dst, 0o700); err != nil {
		return tree.Stats{}, err
	}
	return tree.Copy(ctx, s.dir, dst, tree.Options{Link: func(dir string) bool { return s.unchanging[dir] }})
}

// A SpaceError says that the engine's disk is too full.
type SpaceError struct{ Need, Free int64 }

// Error gives both numbers in megabytes.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("the engine's disk has %d MB free, %d MB are needed", e.Free>>20, e.Need>>20)
}

// checkSpace fails when the file system of dir could not take need bytes.
func checkSpace(dir string, need int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < need+reserve {
		return &SpaceError{Need: need + reserve, Free: free}
	}
	return nil
}

// toDisk puts everything on the file system of dir on the disk.
func toDisk(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// each works on all nodes at once and says which ones failed.
func each(nodes []Node, work func(int, Node) error) error {
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			if err := work(i, n); err != nil {
				errs[i] = fmt.Errorf("node %s: %w", n.Name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
