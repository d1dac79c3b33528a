package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/infra/agent/tree"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: files of other owners are made")
	}
}

// must is for making the test's own files.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// image makes a tree with one of everything an image may have.
func image(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t,
		os.WriteFile(at("plain"), []byte("plain\n"), 0o644),
		os.WriteFile(at("secret"), []byte("secret"), 0o600), os.Chown(at("secret"), 999, 998),
		os.WriteFile(at("suid"), []byte("#!"), 0o755), os.Chown(at("suid"), 33, 33), os.Chmod(at("suid"), 0o755|os.ModeSetuid),
		os.Mkdir(at("empty"), 0o750), os.Chown(at("empty"), 70, 70),
		os.Mkdir(at("locked"), 0o700), os.WriteFile(at("locked/in"), []byte("x"), 0o400), os.Chmod(at("locked"), 0o500),
		os.Mkdir(at("sticky"), 0o777), os.Chmod(at("sticky"), 0o777|os.ModeSticky),
		os.Symlink("plain", at("link")), os.Lchown(at("link"), 5, 6),
		os.Symlink("/nowhere/at/all", at("dangling")),
		os.Symlink("../../../../etc/passwd", at("outward")),
		os.Link(at("plain"), at("hard")), os.Link(at("plain"), at("empty/hard")),
		unix.Mkfifo(at("pipe"), 0o620),
		os.WriteFile(at("name with\nnewline"), nil, 0o644),
		os.WriteFile(at("old"), []byte("old"), 0o644), os.Chtimes(at("old"), time.Unix(1, 0), time.Unix(1000000000, 123456789)),
		os.Chown(dir, 999, 999), os.Chmod(dir, 0o700),
	)
	if err := unix.Lsetxattr(at("plain"), "user.berth", []byte("kept"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	return dir
}

// describe lists a tree with all that must be kept; files with the same inode get
// the same number.
func describe(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	inodes := map[uint64]int{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		name, _ := filepath.Rel(dir, path)
		line := fmt.Sprintf("%q %s %d:%d", name, info.Mode(), stat.Uid, stat.Gid)
		if !info.IsDir() {
			line += " " + info.ModTime().UTC().Format(time.RFC3339Nano)
			if inodes[stat.Ino] == 0 {
				inodes[stat.Ino] = len(inodes) + 1
			}
			line += fmt.Sprintf(" i%d", inodes[stat.Ino])
		}
		if info.Mode().IsRegular() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", raw)
		}
		if target, err := os.Readlink(path); err == nil {
			line += " -> " + target
		}
		if value, err := userXattr(path); err == nil {
			line += " user.berth=" + value
		}
		lines = append(lines, line)
		return nil
	})
	must(t, err)
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func TestEverythingIsKept(t *testing.T) {
	needRoot(t)
	src, dst := image(t), t.TempDir()
	must(t, os.Mkdir(filepath.Join(dst, "lost+found"), 0o700)) // a fresh ext4 volume
	result, err := Copy(t.Context(), src, dst)
	if err != nil || !result.Copied || result.Entries != 15 {
		t.Errorf("%+v, %v", result, err)
	}
	must(t, os.Remove(filepath.Join(dst, "lost+found")))
	if got, want := describe(t, dst), describe(t, src); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestVolumeWithDataIsLeftAlone(t *testing.T) {
	needRoot(t)
	for name, present := range map[string]string{"file": "data", "hidden file": ".hidden"} {
		t.Run(name, func(t *testing.T) {
			src, dst := image(t), t.TempDir()
			must(t, os.WriteFile(filepath.Join(dst, present), []byte("the user's"), 0o644))
			before := describe(t, dst)
			result, err := Copy(t.Context(), src, dst)
			if err != nil || result.Copied || result.Reason == "" {
				t.Errorf("%+v, %v", result, err)
			}
			if after := describe(t, dst); after != before {
				t.Errorf("got\n%s\nwant\n%s", after, before)
			}
		})
	}
}

func TestSecondCopyDoesNothing(t *testing.T) {
	needRoot(t)
	src, dst := image(t), t.TempDir()
	_, err := Copy(t.Context(), src, dst)
	must(t, err, os.WriteFile(filepath.Join(dst, "plain"), []byte("changed by the service"), 0o644), os.Remove(filepath.Join(dst, "old")))
	before := describe(t, dst)
	result, err := Copy(t.Context(), src, dst)
	if err != nil || result.Copied {
		t.Errorf("%+v, %v", result, err)
	}
	if after := describe(t, dst); after != before {
		t.Errorf("got\n%s\nwant\n%s", after, before)
	}
}

func TestInterruptedCopyIsDoneAnew(t *testing.T) {
	needRoot(t)
	src, dst := image(t), t.TempDir()
	half := filepath.Join(dst, copying)
	must(t, // half a copy, with a file that was cut
		os.MkdirAll(filepath.Join(half, "empty", "sub"), 0o700),
		os.WriteFile(filepath.Join(half, "plain"), []byte("pl"), 0o600),
		os.Mkdir(filepath.Join(dst, "lost+found"), 0o700))
	result, err := Copy(t.Context(), src, dst)
	if err != nil || !result.Copied {
		t.Errorf("%+v, %v", result, err)
	}
	must(t, os.Remove(filepath.Join(dst, "lost+found")))
	if got, want := describe(t, dst), describe(t, src); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A volume may be shared with a service whose image has nothing there, which
// writes while another one fills it.
func TestWhatAServiceWroteSurvivesAnInterruptedCopy(t *testing.T) {
	needRoot(t)
	src := image(t)
	for name, stop := range map[string]func(t *testing.T, dst string){
		"cancelled": func(t *testing.T, dst string) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := Copy(ctx, src, dst); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		},
		"while it took its place": func(t *testing.T, dst string) {
			must(t, os.Mkdir(filepath.Join(dst, copied), 0o700), os.WriteFile(filepath.Join(dst, "old"), []byte("old"), 0o644))
			if _, err := tree.Copy(t.Context(), src, filepath.Join(dst, copied), tree.Options{}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dst := t.TempDir()
			stop(t, dst)
			mine := map[string]string{"upload": "the user's", "secret": "not the image's", "empty/upload": "the user's, too"}
			must(t, os.MkdirAll(filepath.Join(dst, "empty"), 0o755))
			for name, text := range mine {
				must(t, os.WriteFile(filepath.Join(dst, name), []byte(text), 0o644))
			}
			if result, err := Copy(t.Context(), src, dst); err != nil || !result.Copied {
				t.Errorf("%+v, %v", result, err)
			}
			mine["plain"], mine["empty/hard"], mine["old"] = "plain\n", "plain\n", "old"
			for name, want := range mine {
				if got, err := os.ReadFile(filepath.Join(dst, name)); string(got) != want {
					t.Errorf("%s holds %q, want %q: %v", name, got, want, err)
				}
			}
			for _, rest := range []string{copying, copied} {
				if _, err := os.Lstat(filepath.Join(dst, rest)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is left: %v", rest, err)
				}
			}
		})
	}
}

func TestNothingToCopyWaitsForACopy(t *testing.T) {
	dst := t.TempDir()
	root, err := os.Open(dst)
	must(t, err, lock(t.Context(), root))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	none := filepath.Join(t.TempDir(), "none")
	if _, err := Copy(ctx, none, dst); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("did not wait: %v", err)
	}
	must(t, root.Close())
	if result, err := Copy(t.Context(), none, dst); err != nil || result.Copied {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestTwoCopiesTakeTurns(t *testing.T) {
	needRoot(t)
	src, dst := image(t), t.TempDir()
	for i := range 300 {
		must(t, os.WriteFile(filepath.Join(src, fmt.Sprint("f", i)), make([]byte, 10000), 0o644))
	}
	var copies sync.WaitGroup
	copied := make(chan bool, 4)
	for range 4 {
		copies.Go(func() {
			result, err := Copy(t.Context(), src, dst)
			if err != nil {
				t.Error(err)
			}
			copied <- result.Copied
		})
	}
	copies.Wait()
	n := 0
	for range 4 {
		if <-copied {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d of 4 copied", n)
	}
	if got, want := describe(t, dst), describe(t, src); got != want {
		t.Error("the copy differs from the image")
	}
}

func TestWhatTheImageDoesNotHave(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644), os.Mkdir(filepath.Join(dir, "real"), 0o711), os.Symlink("real", filepath.Join(dir, "link")))
	t.Run("nothing", func(t *testing.T) {
		if result, err := Copy(t.Context(), filepath.Join(dir, "none"), t.TempDir()); err != nil || result.Copied || result.Reason == "" {
			t.Errorf("%+v, %v", result, err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		if _, err := Copy(t.Context(), filepath.Join(dir, "file"), t.TempDir()); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a link to a directory", func(t *testing.T) {
		dst := t.TempDir()
		if result, err := Copy(t.Context(), filepath.Join(dir, "link"), dst); err != nil || !result.Copied {
			t.Errorf("%+v, %v", result, err)
		}
		if got, want := describe(t, dst), describe(t, filepath.Join(dir, "real")); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestMountsAreLeftOut(t *testing.T) {
	needRoot(t)
	src, dst := t.TempDir(), t.TempDir()
	mounted := filepath.Join(src, "with blank")
	must(t, os.Mkdir(mounted, 0o755), os.WriteFile(filepath.Join(src, "own"), nil, 0o644))
	if err := unix.Mount("tmpfs", mounted, "tmpfs", 0, ""); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(mounted, 0)) })
	must(t, os.WriteFile(filepath.Join(mounted, "foreign"), nil, 0o644))
	if _, err := Copy(t.Context(), src, dst); err != nil {
		t.Fatal(err)
	}
	if got, err := filepath.Glob(filepath.Join(dst, "*")); err != nil || len(got) != 1 || filepath.Base(got[0]) != "own" {
		t.Errorf("got %v, %v", got, err)
	}
}

func userXattr(path string) (string, error) {
	buf := make([]byte, 256)
	n, err := unix.Lgetxattr(path, "user.berth", buf)
	return string(buf[:max(n, 0)]), err
}
