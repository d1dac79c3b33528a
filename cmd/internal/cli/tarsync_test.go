package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/model"
)

func TestTarStepsKeepTheOrder(t *testing.T) {
	write := func(target string) model.FileSync {
		return model.FileSync{Source: "x", Target: target, Op: model.FileWritten}
	}
	remove := func(target string) model.FileSync { return model.FileSync{Target: target, Op: model.FileRemoved} }
	got := ""
	for _, s := range tarSteps([]model.FileSync{write("/a"), write("/b"), remove("/a"), remove("/c"), write("/a/inner")}) {
		got += fmt.Sprintf("%v%d ", s.remove, len(s.write))
	}
	if want := "[]2 [/a /c]0 []1 "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// here runs commands on this machine instead of in a container.
func here(ctx context.Context, command []string, stdin io.Reader) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%v: %w: %s", command, err, stderr.String())
	}
	return stdout.String(), nil
}

// treeOf lists what is below dir.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := rel + " " + info.Mode().String()
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			link, _ := os.Readlink(name)
			line = rel + " -> " + link
		case d.Type().IsRegular():
			content, _ := os.ReadFile(name) //nolint:gosec // a test's own file
			line += " " + string(content)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func TestTarSyncKeepsTheContract(t *testing.T) {
	for _, program := range []string{"sh", "tar", "stat"} {
		if _, err := exec.LookPath(program); err != nil || runtime.GOOS != "linux" {
			t.Skip("there is no GNU or busybox userland with " + program)
		}
	}
	file := func(dir, name, content string, mode fs.FileMode) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), mode), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	host, inside := t.TempDir(), t.TempDir()
	for _, name := range []string{"replaced", "new", "linked/f", "was-dir", "was-file/deep/f", "it's a 'name'"} {
		file(host, name, "host's", 0o644)
	}
	must(os.Symlink("new", filepath.Join(host, "link")))
	file(inside, "replaced", "image's", 0o750)
	file(inside, "was-dir/f", "image's", 0o644)
	file(inside, "was-file", "image's", 0o644)
	file(inside, "link", "image's", 0o644)
	file(inside, "other/kept", "image's", 0o644)
	file(inside, "gone/a/b", "image's", 0o644)
	must(os.Symlink("other", filepath.Join(inside, "linked")))
	socket, err := net.Listen("unix", filepath.Join(host, "socket"))
	must(err)
	defer socket.Close()

	files := []model.FileSync{{Target: filepath.Join(inside, "gone/a"), Op: model.FileRemoved}, {Target: filepath.Join(inside, "gone"), Op: model.FileRemoved}}
	for _, name := range []string{"replaced", "new", "linked", "linked/f", "was-dir", "was-file", "was-file/deep", "was-file/deep/f", "it's a 'name'", "link", "socket", "vanished"} {
		files = append(files, model.FileSync{Source: filepath.Join(host, name), Target: filepath.Join(inside, name), Op: model.FileWritten})
	}
	var left *model.Unreadable
	if err := tarSync(t.Context(), here, files); !errors.As(err, &left) || len(left.Reasons) != 1 || !strings.Contains(err.Error(), "socket") {
		t.Errorf("error %v", err)
	}
	want := strings.Join([]string{
		"it's a 'name' -rw-r--r-- host's", "link -> new", "linked -> other", "new -rw-r--r-- host's", "other drwxr-xr-x",
		"other/f -rw-r--r-- host's", "other/kept -rw-r--r-- image's", "replaced -rwxr-x--- host's", "was-dir -rw-r--r-- host's",
		"was-file drwxr-xr-x", "was-file/deep drwxr-xr-x", "was-file/deep/f -rw-r--r-- host's",
	}, "\n")
	if got := treeOf(t, inside); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTarSyncOfManyFilesStaysOffTheCommandLine(t *testing.T) {
	var files []model.FileSync
	for i := range 20_000 {
		files = append(files, model.FileSync{Target: fmt.Sprintf("/srv/%d", i), Op: model.FileRemoved})
	}
	scripts, calls := 0, 0
	err := tarSync(t.Context(), func(_ context.Context, command []string, stdin io.Reader) (string, error) {
		calls++
		if len(strings.Join(command, " ")) > 100 {
			t.Errorf("command of %d words", len(command))
		}
		script, err := io.ReadAll(stdin)
		scripts += strings.Count(string(script), "rm -rf --")
		return "", err
	}, files)
	if err != nil || calls != 1 || scripts < 2 || scripts > 10 {
		t.Errorf("%d calls, rm %d times, error %v", calls, scripts, err)
	}
}

func TestTarSyncEndsWithWhatItCannotDo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no space left on device")
	err := tarSync(t.Context(), func(_ context.Context, command []string, stdin io.Reader) (string, error) {
		if command[0] == "tar" {
			_, err := io.ReadFull(stdin, make([]byte, 1024)) // and then tar ends
			return "", errors.Join(broken, err)
		}
		return "", nil
	}, []model.FileSync{{Source: filepath.Join(dir, "f"), Target: "/f", Op: model.FileWritten}})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// A file that is written anew, shorter, while it is packed is packed again.
func TestTarSyncOfAFileThatShrinks(t *testing.T) {
	source := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(source, bytes.Repeat([]byte("x"), 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var last string
	err := tarSync(t.Context(), func(_ context.Context, command []string, stdin io.Reader) (string, error) {
		if command[0] != "tar" {
			return "", nil
		}
		archive := tar.NewReader(stdin)
		for {
			_, err := archive.Next()
			if errors.Is(err, io.EOF) {
				return "", nil
			}
			if err == nil {
				err = os.WriteFile(source, []byte("short"), 0o600)
			}
			content, readErr := io.ReadAll(archive)
			if last = string(content); err != nil || readErr != nil {
				return "", errors.Join(err, readErr)
			}
		}
	}, []model.FileSync{{Source: source, Target: "/f", Op: model.FileWritten}})
	if err != nil || last != "short" {
		t.Errorf("error %v, in the end %.10q", err, last)
	}
}
