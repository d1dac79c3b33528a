package cli

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/model"
)

// A remote runs a command where files are synced to and returns what it printed.
type remote func(ctx context.Context, command []string, stdin io.Reader) (stdout string, err error)

// tarSync carries out file operations in order, as devloop.Syncer's Sync says.
// Names go to the shell's standard input: a request's address has no room for
// thousands of them.
func tarSync(ctx context.Context, run remote, files []model.FileSync) error {
	left := &model.Unreadable{}
	for _, step := range tarSteps(files) {
		var err error
		if step.remove != nil {
			err = runScript(ctx, run, shellLines("rm -rf --", topmost(step.remove)), "rm")
		} else {
			err = tarWrite(ctx, run, step.write, left)
		}
		if err != nil {
			return err
		}
	}
	return left.OrNil()
}

// tarStep is a run of operations of one kind.
type tarStep struct {
	remove []string // targets
	write  []model.FileSync
}

// tarSteps divides operations into runs that are carried out together, in order.
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

// topmost leaves out names below others.
func topmost(names []string) []string {
	all := map[string]bool{}
	for _, name := range names {
		all[name] = true
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		for dir := path.Dir(name); dir != "/" && dir != "."; dir = path.Dir(dir) {
			if all[dir] {
				return true
			}
		}
		return false
	})
}

// A tarEntry is a file or a symlink to write.
type tarEntry struct {
	model.FileSync
	info fs.FileInfo
	mode int64 // the permissions that it is to have
}

// tarWrite writes files, symlinks and directories. What cannot be read it adds
// to left; what has vanished is left out: its removal follows.
func tarWrite(ctx context.Context, run remote, files []model.FileSync, left *model.Unreadable) error {
	there, err := statTargets(ctx, run, files)
	if err != nil {
		return err
	}
	var obstacles, dirs []string
	var entries []tarEntry
	for _, f := range files {
		info, err := os.Lstat(f.Source)
		old, exists := there[f.Target]
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && info.IsDir() && old.dir:
			continue // an existing directory may be a symlink to one, which stays
		case err != nil:
			left.Add(err)
			continue
		case info.IsDir():
			dirs = append(dirs, f.Target)
		case info.Mode()&fs.ModeSymlink != 0:
			exists = true // as a symlink that leads nowhere, perhaps
			entries = append(entries, tarEntry{f, info, int64(info.Mode().Perm())})
		case !info.Mode().IsRegular():
			left.Add(fmt.Errorf("%s is neither a file, a directory nor a link", f.Source))
			continue
		case exists && !old.dir:
			exists = false // it is overwritten and keeps its permissions
			entries = append(entries, tarEntry{f, info, old.mode})
		default:
			entries = append(entries, tarEntry{f, info, int64(info.Mode().Perm())})
		}
		if exists {
			obstacles = append(obstacles, f.Target)
		}
	}
	makeRoom := shellLines("rm -rf --", obstacles) + shellLines("mkdir -p --", dirs)
	if err := runScript(ctx, run, makeRoom, "rm", "mkdir"); err != nil || len(entries) == 0 {
		return err
	}
	return sendTar(ctx, run, entries, left)
}

// sendTar streams an archive to tar in the container. The owner of what is
// overwritten stays; permissions are those of the archive.
func sendTar(ctx context.Context, run remote, entries []tarEntry, left *model.Unreadable) error {
	archive, in := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := packEntries(in, entries, left)
		in.CloseWithError(err)
		packed <- err
	}()
	_, err := run(ctx, []string{"tar", "--overwrite", "-o", "-p", "-xf", "-", "-C", "/"}, archive)
	_ = archive.Close() // ends the packer when tar has not read all
	if cause := <-packed; cause != nil && !errors.Is(cause, io.ErrClosedPipe) {
		return cause
	}
	return err
}

func packEntries(out io.Writer, entries []tarEntry, left *model.Unreadable) error {
	w := tar.NewWriter(out)
	for _, e := range entries {
		if err := packEntry(w, e, left); err != nil {
			return err
		}
	}
	return w.Close()
}

func packEntry(w *tar.Writer, e tarEntry, left *model.Unreadable) error {
	if e.info.Mode()&fs.ModeSymlink == 0 {
		return agent.SendSteady(e.Source, left, func(info fs.FileInfo, size int64, content io.Reader) error {
			header, err := e.header(info, "")
			if err != nil {
				return err
			}
			header.Size = size
			if err := w.WriteHeader(header); err != nil {
				return err
			}
			_, err = io.Copy(w, content)
			return err
		})
	}
	link, err := os.Readlink(e.Source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		left.Add(err)
		return nil
	}
	header, err := e.header(e.info, link)
	if err != nil {
		return err
	}
	return w.WriteHeader(header)
}

// header is that of the entry in an archive.
func (e tarEntry) header(info fs.FileInfo, link string) (*tar.Header, error) {
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return nil, err
	}
	header.Name, header.Mode, header.Format = strings.TrimPrefix(e.Target, "/"), e.mode, tar.FormatPAX
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	return header, nil
}

// What the shell's scripts say of a program that is not there.
const (
	notFound = 127
	lacks    = "berth-sync lacks "
)

// runScript runs a script in the shell, none when it is empty. The programs it
// needs are looked for first.
func runScript(ctx context.Context, run remote, script string, programs ...string) error {
	if script == "" {
		return nil
	}
	_, err := run(ctx, []string{"sh", "-s"}, strings.NewReader(needs(programs)+"set -e\n"+script))
	return err
}

func needs(programs []string) string {
	var b strings.Builder
	for _, p := range programs {
		fmt.Fprintf(&b, "command -v %s >/dev/null || { echo '%s%s' >&2; exit %d; }\n", p, lacks, p, notFound)
	}
	return b.String()
}

// A target is what there is where something is to be written.
type target struct {
	dir  bool
	mode int64 // permissions
}

// statTargets asks what there is at the targets of files, symlinks followed.
func statTargets(ctx context.Context, run remote, files []model.FileSync) (map[string]target, error) {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Target
	}
	script := needs([]string{"stat"}) + "exec 2>/dev/null\n" + shellLines("stat -L -c '%f %n' --", names) + "exit 0\n" // what is not there fails
	out, err := run(ctx, []string{"sh", "-s"}, strings.NewReader(script))
	if err != nil {
		return nil, err
	}
	there := map[string]target{}
	for line := range strings.Lines(out) {
		hex, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		raw, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			continue // the rest of a name with a line break
		}
		const typeMask, typeDir, permissions = 0o170000, 0o040000, 0o7777
		there[name] = target{raw&typeMask == typeDir, int64(raw & permissions)}
	}
	return there, nil
}

// shellLines are calls of a command with all names, as many at once as a
// command line takes.
func shellLines(command string, names []string) string {
	const room = 64 << 10
	var b strings.Builder
	left := 0
	for i, name := range names {
		quoted := " '" + strings.ReplaceAll(name, "'", `'\''`) + "'"
		if left -= len(quoted); left < 0 {
			if i > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(command)
			left = room - len(quoted)
		}
		b.WriteString(quoted)
	}
	if len(names) > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}
