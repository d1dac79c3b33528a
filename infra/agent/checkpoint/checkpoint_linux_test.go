package checkpoint

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// must is for making the test's own files.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: whiteouts are devices")
	}
}

// Files of a node's state: a layer, a container's own files, a blob, etcd.
const (
	layerFile    = snapshotDir + "/1/fs/bin/sh"
	layerLink    = snapshotDir + "/1/fs/bin/ash"
	whiteoutFile = snapshotDir + "/1/fs/etc/gone"
	ownFile      = snapshotDir + "/2/fs/data"
	blobFile     = contentDir + "/sha256/abc"
	etcdFile     = "lib/etcd/member/snap/db"
)

// newNode makes a volume with the state of a node.
func newNode(t *testing.T) Node {
	t.Helper()
	return newNodeAt(t, "n1", t.TempDir())
}

func newNodeAt(t *testing.T, name, dir string) Node {
	t.Helper()
	n := Node{Name: name, Volume: dir}
	for name, content := range map[string]string{layerFile: "shell", ownFile: "before", blobFile: "blob", etcdFile: "etcd before"} {
		write(t, live(n, name), content)
	}
	must(t, os.Symlink("sh", live(n, layerLink)), os.MkdirAll(filepath.Dir(live(n, whiteoutFile)), 0o755),
		unix.Mknod(live(n, whiteoutFile), syscall.S_IFCHR, 0))
	db, err := bolt.Open(live(n, snapshotDB), 0o600, nil)
	must(t, err)
	err = db.Update(func(tx *bolt.Tx) error {
		version, err := tx.CreateBucket([]byte("v1"))
		must(t, err)
		snapshots, err := version.CreateBucket([]byte("snapshots"))
		must(t, err)
		for id, kind := range map[uint64]byte{1: kindCommitted, 2: 2} {
			b, err := snapshots.CreateBucket(binary.AppendUvarint([]byte("k8s.io/"), id))
			must(t, err)
			must(t, b.Put([]byte("id"), binary.AppendUvarint(nil, id)), b.Put([]byte("kind"), []byte{kind}))
		}
		return nil
	})
	must(t, err, db.Close())
	return n
}

func live(n Node, name string) string { return filepath.Join(n.Volume, liveDir, name) }

func write(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	return string(raw)
}

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}

// saved is a node and its checkpoint, after which the node went on.
func saved(t *testing.T) (Node, string) {
	t.Helper()
	needRoot(t)
	n, store := newNode(t), t.TempDir()
	var said []Message
	must(t, Save(t.Context(), store, []Node{n}, func(m Message) { said = append(said, m) }))
	if len(said) != 1 || said[0].Phase != PhaseCopied || said[0].Linked != 4 {
		t.Fatalf("said %+v, want that 4 files were linked: a layer's three and a blob", said)
	}
	write(t, live(n, etcdFile), "etcd after")
	write(t, live(n, ownFile), "after")
	write(t, live(n, "lib/kubelet/new"), "new")
	must(t, os.Remove(live(n, blobFile)))
	return n, store
}

func restoredWell(t *testing.T, n Node) {
	t.Helper()
	for name, want := range map[string]string{etcdFile: "etcd before", ownFile: "before", blobFile: "blob", layerFile: "shell"} {
		if got := read(t, live(n, name)); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if _, err := os.Lstat(live(n, "lib/kubelet/new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that came later is still there: %v", err)
	}
	entries, err := os.ReadDir(n.Volume)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("beside the state there is more: %v", entries)
	}
}

func TestLayersAreSharedAndTheRestIsCopied(t *testing.T) {
	n, store := saved(t)
	for name, shared := range map[string]bool{layerFile: true, layerLink: true, whiteoutFile: true, ownFile: false, etcdFile: false} {
		if got := inodeOf(t, live(n, name)) == inodeOf(t, filepath.Join(store, n.Name, name)); got != shared {
			t.Errorf("%s is shared: %v, want %v", name, got, shared)
		}
	}
	if got := read(t, filepath.Join(store, n.Name, etcdFile)); got != "etcd before" {
		t.Errorf("the checkpoint's etcd holds %q", got)
	}
}

func TestACheckpointCanBeBroughtBackTwice(t *testing.T) {
	n, store := saved(t)
	for range 2 {
		must(t, Prepare(t.Context(), store, []Node{n}), Swap([]Node{n}), Clean([]Node{n}))
		restoredWell(t, n)
		write(t, live(n, etcdFile), "etcd again")
		write(t, live(n, ownFile), "again")
	}
}

// Whatever moment a restore is killed at, doing it again ends well, and another
// checkpoint's restore after it is not given the first one's state.
// The address that a node got after the checkpoint was taken is the one that kind
// replaces at the next start: kubelets of two nodes with one address are the end of
// the routes between their pods.
func TestARestoredNodeKeepsItsAddress(t *testing.T) {
	needRoot(t)
	n := newNode(t)
	write(t, live(n, flagsFile), "--node-ip=172.18.0.3")
	store := t.TempDir()
	must(t, Save(t.Context(), store, []Node{n}, func(Message) {}))
	write(t, live(n, flagsFile), "--node-ip=172.18.0.5")
	write(t, live(n, etcdFile), "etcd after")
	must(t, Prepare(t.Context(), store, []Node{n}), Swap([]Node{n}), Clean([]Node{n}))
	for name, want := range map[string]string{flagsFile: "--node-ip=172.18.0.5", etcdFile: "etcd before"} {
		if got, err := os.ReadFile(live(n, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestAnInterruptedRestoreIsDoneAgain(t *testing.T) {
	at := func(n Node, dir string) string { return filepath.Join(n.Volume, dir) }
	for name, interrupted := range map[string]func(t *testing.T, n Node, store string){
		"while preparing": func(t *testing.T, n Node, _ string) {
			write(t, filepath.Join(at(n, partialDir), "lib/etcd/half"), "half")
		},
		"while preparing, forgotten": func(t *testing.T, n Node, _ string) {
			write(t, filepath.Join(at(n, partialDir), "lib/etcd/half"), "half")
			must(t, Forget([]Node{n}))
			if exists(at(n, partialDir)) {
				t.Error("half a state is left")
			}
		},
		"prepared": func(t *testing.T, n Node, store string) { must(t, Prepare(t.Context(), store, []Node{n})) },
		"between the two renames": func(t *testing.T, n Node, store string) {
			must(t, Prepare(t.Context(), store, []Node{n}), os.Rename(at(n, liveDir), at(n, formerDir)))
		},
		"swapped": func(t *testing.T, n Node, store string) {
			must(t, Prepare(t.Context(), store, []Node{n}), Swap([]Node{n}))
		},
	} {
		for _, forget := range []bool{false, true} {
			if forget {
				name += ", then another checkpoint"
			}
			t.Run(name, func(t *testing.T) {
				n, store := saved(t)
				interrupted(t, n, store)
				if forget {
					must(t, Forget([]Node{n}))
				}
				must(t, Prepare(t.Context(), store, []Node{n}), Swap([]Node{n}), Clean([]Node{n}))
				restoredWell(t, n)
			})
		}
	}
}

func TestAFullDiskIsToldBeforeAnythingIsCopied(t *testing.T) {
	needRoot(t)
	n, store := newNode(t), t.TempDir()
	must(t, unix.Mount("tmpfs", store, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, unix.Unmount(store, 0)) })
	err := Save(t.Context(), store, []Node{n}, func(Message) {})
	var space *SpaceError
	if !errors.As(err, &space) || !strings.Contains(err.Error(), "MB free") {
		t.Errorf("got %v, want a SpaceError", err)
	}
	if entries, err := os.ReadDir(store); err != nil || len(entries) != 0 {
		t.Errorf("%v is in the checkpoint (%v)", entries, err)
	}
}

// What fits for each node alone may not fit for all.
func TestPrepareAsksWhetherTheStateOfAllNodesFits(t *testing.T) {
	needRoot(t)
	disk := t.TempDir()
	must(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=300m"))
	t.Cleanup(func() { must(t, unix.Unmount(disk, 0)) })
	store := filepath.Join(disk, "store")
	must(t, os.Mkdir(store, 0o755))
	var nodes []Node
	for _, name := range []string{"n1", "n2"} {
		n := newNodeAt(t, name, filepath.Join(disk, name))
		write(t, live(n, etcdFile), strings.Repeat("x", 2<<20))
		nodes = append(nodes, n)
	}
	must(t, Save(t.Context(), store, nodes, func(Message) {}))
	fillTo(t, disk, reserve+3<<20)
	var space *SpaceError
	if err := Prepare(t.Context(), store, nodes); !errors.As(err, &space) || space.Need < reserve+4<<20 {
		t.Errorf("got %v", err)
	}
	must(t, Prepare(t.Context(), store, nodes[:1]), Forget(nodes))
	for _, n := range nodes {
		entries, err := os.ReadDir(n.Volume)
		if err != nil || len(entries) != 1 {
			t.Errorf("beside the state of %s there is more: %v, %v", n.Name, entries, err)
		}
	}
}

// fillTo leaves so many bytes free on a disk.
func fillTo(t *testing.T, disk string, free int64) {
	t.Helper()
	var fs unix.Statfs_t
	must(t, unix.Statfs(disk, &fs))
	f, err := os.Create(filepath.Join(disk, "filler"))
	must(t, err)
	must(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(fs.Bavail)*fs.Bsize-free), f.Close())
}
