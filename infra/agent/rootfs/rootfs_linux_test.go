package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// world is a directory with a container's root in it, and things outside that
// must stay as they are.
func world(t testing.TB) (root, outside string, tree *Tree) {
	t.Helper()
	dir := t.TempDir()
	root, outside = filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	must(t, os.Mkdir(root, 0o755), os.Mkdir(outside, 0o755),
		os.WriteFile(filepath.Join(outside, "file"), []byte("outside"), 0o600),
		os.Mkdir(filepath.Join(outside, "dir"), 0o755))
	tree, err := Open(root)
	must(t, err)
	t.Cleanup(func() { tree.Close() })
	return root, outside, tree
}

// list prints a tree: path, kind and content or target.
func list(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case e.IsDir():
			name += "/"
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			name += " -> " + target
		case e.Type().IsRegular():
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name += "=" + string(raw)
		}
		lines = append(lines, name)
		return nil
	}))
	return strings.Join(lines, " ")
}

func write(tree *Tree, name, text string) error {
	return tree.WriteFile(name, 0o644, strings.NewReader(text))
}

func TestOperations(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(root string) error
		do     func(*Tree) error
		want   string
	}{
		"new file, new directories": {nil, func(t *Tree) error { return write(t, "/a/b/c", "x") }, "a/ a/b/ a/b/c=x"},
		"replaced file": {func(r string) error { return os.WriteFile(r+"/f", []byte("a longer old text"), 0o644) },
			func(t *Tree) error { return write(t, "/f", "new") }, "f=new"},
		"empty file": {nil, func(t *Tree) error { return write(t, "f", "") }, "f="},
		"through a link to a file": {func(r string) error {
			return errors.Join(os.Mkdir(r+"/d", 0o755), os.WriteFile(r+"/d/f", []byte("old"), 0o644), os.Symlink("d/f", r+"/l"))
		}, func(t *Tree) error { return write(t, "/l", "new") }, "d/ d/f=new l -> d/f"},
		"through a link to a directory": {func(r string) error {
			return errors.Join(os.MkdirAll(r+"/var/sub", 0o755), os.Mkdir(r+"/app", 0o755), os.Symlink("/var/sub", r+"/app/sub"))
		}, func(t *Tree) error { return write(t, "/app/sub/f", "x") }, "app/ app/sub -> /var/sub var/ var/sub/ var/sub/f=x"},
		"directory where a link leads to one": {func(r string) error {
			return errors.Join(os.MkdirAll(r+"/var/sub", 0o755), os.Symlink("/var/sub", r+"/sub"))
		}, func(t *Tree) error { return t.Mkdir("/sub", 0o755) }, "sub -> /var/sub var/ var/sub/"},
		"link with .. after a link": {func(r string) error {
			return errors.Join(os.MkdirAll(r+"/x/y", 0o755), os.Symlink("x/y", r+"/short"), os.Symlink("short/../f", r+"/l"))
		}, func(t *Tree) error { return write(t, "/l", "x") }, "l -> short/../f short -> x/y x/ x/f=x x/y/"},
		"link to nothing yet": {func(r string) error { return os.Symlink("/d/f", r+"/l") },
			func(t *Tree) error { return write(t, "/l", "x") }, "d/ d/f=x l -> /d/f"},
		"file over a directory": {func(r string) error {
			return errors.Join(os.MkdirAll(r+"/d/sub", 0o755), os.WriteFile(r+"/d/sub/f", nil, 0o644))
		}, func(t *Tree) error { return write(t, "/d", "now a file") }, "d=now a file"},
		"directory over a file": {func(r string) error { return os.WriteFile(r+"/f", nil, 0o644) },
			func(t *Tree) error { return t.Mkdir("/f", 0o755) }, "f/"},
		"directory that is there": {func(r string) error {
			return errors.Join(os.Mkdir(r+"/d", 0o755), os.WriteFile(r+"/d/f", []byte("x"), 0o644))
		}, func(t *Tree) error { return t.Mkdir("/d", 0o700) }, "d/ d/f=x"},
		"symlink":             {nil, func(t *Tree) error { return t.Symlink("/a/l", "../x") }, "a/ a/l -> ../x"},
		"symlink over a file": {func(r string) error { return os.WriteFile(r+"/l", nil, 0o644) }, func(t *Tree) error { return t.Symlink("/l", "x") }, "l -> x"},
		"symlink over another": {func(r string) error { return os.Symlink("old", r+"/l") },
			func(t *Tree) error { return t.Symlink("/l", "x") }, "l -> x"},
		"symlink over a directory": {func(r string) error { return os.MkdirAll(r+"/l/sub", 0o755) },
			func(t *Tree) error { return t.Symlink("/l", "x") }, "l -> x"},
		"removed file":           {func(r string) error { return os.WriteFile(r+"/f", nil, 0o644) }, func(t *Tree) error { return t.Remove("/f") }, ""},
		"removed tree":           {func(r string) error { return os.MkdirAll(r+"/a/b/c", 0o755) }, func(t *Tree) error { return t.Remove("/a") }, ""},
		"removed link, not file": {func(r string) error { return errors.Join(os.WriteFile(r+"/f", nil, 0o644), os.Symlink("f", r+"/l")) }, func(t *Tree) error { return t.Remove("/l") }, "f="},
		"removed what is not there": {nil, func(t *Tree) error {
			return errors.Join(t.Remove("/none"), t.Remove("/none/at/all"))
		}, ""},
		"removed below a file": {func(r string) error { return os.WriteFile(r+"/f", nil, 0o644) }, func(t *Tree) error { return t.Remove("/f/x") }, "f="},
	} {
		t.Run(name, func(t *testing.T) {
			root, _, tree := world(t)
			if tc.before != nil {
				must(t, tc.before(root))
			}
			if err := tc.do(tree); err != nil {
				t.Error(err)
			}
			if got := list(t, root); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestHostileLinksDoNotLeadOut gives every operation paths that an image could
// set as traps. Whatever comes of it, nothing outside may change.
func TestHostileLinksDoNotLeadOut(t *testing.T) {
	links := map[string]string{ // name in the root: target; OUT is the directory outside
		"abs-dir": "OUT", "abs-file": "OUT/file", "up-dir": "../outside", "up-file": "../outside/file",
		"far-up": "../../../../../../../../../../../../OUT", "dots": "sub/../../outside", "loop": "loop", "two": "up-dir/dir",
		"proc": "/proc/self/root", "cwd": "/proc/self/cwd", "fd": "/proc/self/fd/3", "chain": "chain2", "chain2": "../../outside/dir",
	}
	paths := []string{"../outside/file", "/../outside/new", "sub/../../outside/file", "/../../../../../../../../../../OUT/file"}
	for name := range links {
		paths = append(paths, name, name+"/file", name+"/new/deep", name+"/..", name+"/../outside/file", name+"/dir")
	}
	operations := map[string]func(*Tree, string) error{
		"write":   func(t *Tree, p string) error { return write(t, p, "hostile") },
		"mkdir":   func(t *Tree, p string) error { return t.Mkdir(p, 0o755) },
		"symlink": func(t *Tree, p string) error { return t.Symlink(p, "hostile") },
		"remove":  func(t *Tree, p string) error { return t.Remove(p) },
	}
	for operation, do := range operations {
		for _, path := range paths {
			root, outside, tree := world(t)
			must(t, os.Mkdir(filepath.Join(root, "sub"), 0o755))
			for name, target := range links {
				must(t, os.Symlink(strings.ReplaceAll(target, "OUT", outside), filepath.Join(root, name)))
			}
			before := list(t, outside)
			err := do(tree, strings.ReplaceAll(path, "OUT", outside))
			if after := list(t, outside); after != before {
				t.Errorf("%s %s (%v): outside changed to %s", operation, path, err, after)
			}
			if names, _ := filepath.Glob(filepath.Join(filepath.Dir(root), "*")); len(names) != 2 {
				t.Errorf("%s %s (%v): made %v beside the root", operation, path, err, names)
			}
		}
	}
}

// TestLinkThatChangesUnderfootDoesNotLeadOut races writes with a directory that
// turns into a link and back.
func TestLinkThatChangesUnderfootDoesNotLeadOut(t *testing.T) {
	root, outside, tree := world(t)
	before := list(t, outside)
	must(t, os.Mkdir(root+"/a", 0o755), os.Symlink(outside, root+"/b"))
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, root+"/a", unix.AT_FDCWD, root+"/b", unix.RENAME_EXCHANGE)
			}
		}
	})
	for i := range 3000 {
		_ = write(tree, "/a/file", fmt.Sprint(i))
		_ = tree.Remove("/a/file")
		_ = tree.Mkdir("/a/dir/sub", 0o755)
	}
	close(stop)
	swapping.Wait()
	if after := list(t, outside); after != before {
		t.Errorf("outside changed to %s", after)
	}
}

// A program may put a link where a file was a moment ago.
func TestPermissionsAreNotSetThroughALink(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "shadow")
	root := t.TempDir()
	tree, err := Open(root)
	if err := errors.Join(err, os.WriteFile(outside, nil, 0o600), os.WriteFile(filepath.Join(root, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	p, err := tree.find("/file", true, false)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.chmod(0o4711); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(filepath.Join(root, "file")); err != nil || info.Mode() != 0o711|fs.ModeSetuid {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := errors.Join(os.Remove(filepath.Join(root, "file")), os.Symlink(outside, filepath.Join(root, "file"))); err != nil {
		t.Fatal(err)
	}
	if err := p.chmod(0o777); !errors.Is(err, unix.ELOOP) {
		t.Errorf("got %v", err)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode() != 0o600 {
		t.Errorf("outside: %v, %v", info.Mode(), err)
	}
}

func TestOwnerAndMode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: files of other owners are made")
	}
	root, _, tree := world(t)
	must(t, os.Mkdir(root+"/app", 0o755), os.Chown(root+"/app", 1000, 1001),
		os.WriteFile(root+"/app/old", []byte("old"), 0o640), os.Chown(root+"/app/old", 33, 34), os.Chmod(root+"/app/old", 0o640))
	must(t, tree.WriteFile("/app/old", 0o777, strings.NewReader("new")), tree.WriteFile("/app/run.sh", 0o755, strings.NewReader("new")),
		tree.WriteFile("/app/made/deep/f", 0o644, strings.NewReader("new")), tree.Mkdir("/app/dir", 0o750), tree.Symlink("/app/link", "x"))
	for name, want := range map[string]string{
		"old": "-rw-r----- 33:34", "run.sh": "-rwxr-xr-x 1000:1001", "made": "drwxr-xr-x 1000:1001", "made/deep": "drwxr-xr-x 1000:1001",
		"made/deep/f": "-rw-r--r-- 1000:1001", "dir": "drwxr-x--- 1000:1001", "link": "Lrwxrwxrwx 1000:1001",
	} {
		info, err := os.Lstat(filepath.Join(root, "app", name))
		must(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		if got := fmt.Sprintf("%s %d:%d", info.Mode(), stat.Uid, stat.Gid); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestMountsStay(t *testing.T) {
	root, _, tree := world(t)
	must(t, os.MkdirAll(root+"/app/node_modules", 0o755), os.WriteFile(root+"/app/main.js", nil, 0o644), os.WriteFile(root+"/app/config", []byte("old"), 0o644), os.WriteFile(root+"/single", []byte("mounted"), 0o644))
	if err := unix.Mount("tmpfs", root+"/app/node_modules", "tmpfs", 0, ""); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(root+"/app/node_modules", 0)) })
	must(t, unix.Mount(root+"/single", root+"/app/config", "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(root+"/app/config", 0)) })
	must(t, os.WriteFile(root+"/app/node_modules/dep", []byte("x"), 0o644))

	must(t, write(tree, "/app/config", "new")) // cannot be replaced, so it is overwritten
	if raw, err := os.ReadFile(root + "/single"); err != nil || string(raw) != "new" {
		t.Errorf("%q, %v", raw, err)
	}
	must(t, write(tree, "/app/node_modules/dep2", "y"))
	must(t, tree.Remove("/app"))
	if got := list(t, root+"/app"); got != "config=new node_modules/ node_modules/dep=x node_modules/dep2=y" {
		t.Errorf("left: %s", got)
	}
	if err := write(tree, "/app", "file"); err == nil {
		t.Error("a directory with a mount was replaced")
	}
}

func TestReadOnlyRootIsWrittenBelow(t *testing.T) {
	root, _, layer := world(t)
	must(t, os.MkdirAll(root+"/app", 0o755), os.MkdirAll(root+"/vol", 0o755), os.MkdirAll(root+"/ro", 0o755), os.WriteFile(root+"/app/f", []byte("old"), 0o644))
	view := t.TempDir()
	if err := unix.Mount(root, view, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(view, unix.MNT_DETACH)) })
	must(t, unix.Mount("", view, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
		unix.Mount("tmpfs", view+"/vol", "tmpfs", 0, ""), unix.Mount("tmpfs", view+"/ro", "tmpfs", unix.MS_RDONLY, ""))
	live, err := Open(view)
	must(t, err)
	c := &Container{live: live, layer: layer}
	t.Cleanup(func() { live.Close() })
	must(t, c.WriteFile("/app/f", 0o644, strings.NewReader("new")), c.WriteFile("/app/deep/new", 0o644, strings.NewReader("x")),
		c.Mkdir("/app/dir", 0o755), c.Symlink("/app/l", "f"), c.WriteFile("/vol/f", 0o644, strings.NewReader("in the volume")))
	if got := list(t, view); got != "app/ app/deep/ app/deep/new=x app/dir/ app/f=new app/l -> f ro/ vol/ vol/f=in the volume" {
		t.Errorf("got %s", got)
	}
	if err := c.WriteFile("/ro/f", 0o644, strings.NewReader("x")); !errors.Is(err, unix.EROFS) {
		t.Errorf("a read-only volume: %v", err)
	}
	must(t, c.Remove("/app/f"))
	if _, err := os.Lstat(root + "/app/f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the removed file: %v", err)
	}
}

func TestKernelFileSystemsAreRefused(t *testing.T) {
	tree, err := Open("/")
	must(t, err)
	defer tree.Close()
	for _, name := range []string{"/proc/sys/kernel/domainname", "/sys/kernel/berth-test", "/proc/self/comm"} {
		if err := write(tree, name, "hostile"); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

func TestContainersAreFoundWhereContainerdKeepsThem(t *testing.T) {
	run := t.TempDir()
	const below = "/io.containerd.runtime.v2.task/k8s.io/"
	for _, dir := range []string{run + "/containerd" + below + "abc", run + "/k3s/containerd" + below + "def"} {
		must(t, os.MkdirAll(dir, 0o755), os.WriteFile(dir+"/init.pid", []byte("42\n"), 0o644))
	}
	states := []string{run + "/containerd", run + "/*/containerd"}
	for _, id := range []string{"abc", "def"} {
		dir, err := bundleIn(states, id)
		must(t, err)
		if pid, err := pidIn(dir); err != nil || pid != 42 {
			t.Errorf("%s: %d, %v", id, pid, err)
		}
	}
	if _, err := bundleIn(states, "gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for _, id := range []string{"", "..", "../abc", "a/b", ".", "*", strings.Repeat("a", 200)} {
		if _, err := bundleIn(states, id); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// BenchmarkWriteFile is one small file replaced.
func BenchmarkWriteFile(b *testing.B) {
	_, _, tree := world(b)
	for b.Loop() {
		must(b, write(tree, "/app/src/file", "some text"))
	}
}
