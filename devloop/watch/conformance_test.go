package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/model"
)

const patience = time.Minute

// A probe is a watcher on a fresh directory and what it has reported so far.
type probe struct {
	t    *testing.T
	dir  string
	w    *Watcher
	got  map[string]string // path relative to dir -> last operation
	same map[string]bool
	seen int // batches

	mu      sync.Mutex
	notices []Notice
}

// start watches dir, or other roots below it; ignore is in .dockerignore syntax.
func start(t *testing.T, mode Mode, dir string, ignore []string, paths ...string) *probe {
	t.Helper()
	p := &probe{t: t, dir: dir, got: map[string]string{}, same: map[string]bool{}}
	w, err := Start(t.Context(), Config{Roots: p.roots(ignore, paths...), Mode: mode, PollEvery: 20 * time.Millisecond, Notify: p.notify})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	p.w = w
	return p
}

func (p *probe) notify(n Notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notices = append(p.notices, n)
}

func (p *probe) roots(ignore []string, paths ...string) []Root {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	var rs []Root
	for _, path := range paths {
		root := Root{Path: filepath.Join(p.dir, path)}
		for _, patterns := range [][]string{ignore, Editors()} {
			m, err := NewMatcher(root.Path, patterns)
			if err != nil {
				p.t.Fatal(err)
			}
			root.Ignore = append(root.Ignore, m)
		}
		rs = append(rs, root)
	}
	return append(rs, Root{Path: filepath.Join(p.dir, "fence")})
}

// until takes batches until done says so.
func (p *probe) until(what string, done func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for !done() {
		select {
		case b := <-p.w.Batches():
			p.take(b)
		case <-ctx.Done():
			p.t.Fatalf("never %s; reported so far: %s; same: %v", what, p.report(), p.same)
		}
	}
}

func (p *probe) take(b Batch) {
	p.seen++
	for _, c := range b.Changes {
		rel, err := filepath.Rel(p.dir, c.Path)
		if err != nil {
			p.t.Fatal(err)
		}
		p.got[filepath.ToSlash(rel)] = string(c.Op)
	}
	for _, s := range b.Same {
		p.same[strings.TrimPrefix(s, p.dir+"/")] = true
	}
}

// fence returns when everything that happened before has been reported.
func (p *probe) fence() {
	p.t.Helper()
	delete(p.got, "fence")
	p.write("fence", fmt.Sprint(time.Now().UnixNano()))
	p.until("the fence is reported", func() bool { return p.got["fence"] != "" })
	delete(p.got, "fence")
}

// expect runs do and compares everything it is reported to have changed, as
// "path" for a write and "-path" for a removal.
func (p *probe) expect(do func(), want ...string) {
	p.t.Helper()
	clear(p.got)
	do()
	p.fence()
	p.until("all is reported", func() bool { return len(p.got) >= len(want) })
	if got := p.report(); got != strings.Join(sortedCopy(want), " ") {
		p.t.Errorf("reported %s\nwant     %s", got, strings.Join(sortedCopy(want), " "))
	}
}

func sortedCopy(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func (p *probe) report() string {
	var list []string
	for path, op := range p.got {
		if op == string(model.FileRemoved) {
			path = "-" + path
		}
		list = append(list, path)
	}
	if len(list) > 50 {
		return fmt.Sprintf("%d paths", len(list))
	}
	return strings.Join(sortedCopy(list), " ")
}

func (p *probe) path(name string) string { return filepath.Join(p.dir, name) }

func (p *probe) write(name, content string) { p.t.Helper(); put(p.t, p.path(name), content) }

func (p *probe) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *probe) rename(from, to string) { p.t.Helper(); p.must(os.Rename(p.path(from), p.path(to))) }

func (p *probe) remove(name string) { p.t.Helper(); p.must(os.RemoveAll(p.path(name))) }

func (p *probe) mkdir(name string) { p.t.Helper(); p.must(os.MkdirAll(p.path(name), 0o755)) }

func put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

var cases = []struct {
	name   string
	files  map[string]string
	ignore []string
	roots  []string
	run    func(p *probe)
}{
	{name: "a file is written, written again, removed", run: func(p *probe) {
		p.expect(func() { p.write("a.txt", "1") }, "a.txt")
		p.expect(func() { p.write("a.txt", "2") }, "a.txt")
		p.expect(func() { p.remove("a.txt") }, "-a.txt")
	}},
	{name: "a save that changes nothing is no change", files: map[string]string{"a.txt": "same"}, run: func(p *probe) {
		p.write("warm.txt", "x") // by the time this is reported, the first hashes may be there or not
		p.fence()
		p.expect(func() { p.write("a.txt", "other"); p.fence(); p.write("a.txt", "other"); p.fence() }, "a.txt")
		p.expect(func() { p.write("a.txt", "other") })
		if !p.same["a.txt"] {
			p.t.Error("the save without a change is not mentioned")
		}
	}},
	{name: "a touched file is no change, one made executable is", run: func(p *probe) {
		p.expect(func() { p.write("run.sh", "1") }, "run.sh")
		p.expect(func() { p.must(os.Chtimes(p.path("run.sh"), time.Now(), time.Now().Add(time.Hour))) })
		p.expect(func() { p.must(os.Chmod(p.path("run.sh"), 0o755)) }, "run.sh")
	}},
	{name: "vim saves: backup, new file, backup removed", files: map[string]string{"main.go": "1"}, run: func(p *probe) {
		p.expect(func() {
			p.write("4913", "")
			p.remove("4913")
			p.write(".main.go.swp", "swap")
			p.rename("main.go", "main.go~")
			p.write("main.go", "2")
			p.remove("main.go~")
			p.remove(".main.go.swp")
		}, "main.go")
	}},
	{name: "JetBrains and GNOME save: temporary file renamed over", files: map[string]string{"main.go": "1"}, run: func(p *probe) {
		p.expect(func() {
			p.write("main.go___jb_tmp___", "2")
			p.rename("main.go", "main.go___jb_old___")
			p.rename("main.go___jb_tmp___", "main.go")
			p.remove("main.go___jb_old___")
		}, "main.go")
		p.expect(func() { p.write(".goutputstream-X", "3"); p.rename(".goutputstream-X", "main.go") }, "main.go")
	}},
	{name: "VS Code saves: truncate and write in place", files: map[string]string{"main.go": "1"}, run: func(p *probe) {
		p.expect(func() {
			f, err := os.OpenFile(p.path("main.go"), os.O_WRONLY|os.O_TRUNC, 0o644)
			p.must(err)
			_, err = f.WriteString("longer")
			p.must(err)
			p.must(f.Close())
		}, "main.go")
	}},
	{name: "new directories with files in them", run: func(p *probe) {
		p.expect(func() { p.write("x/y/z/deep.txt", "1"); p.write("x/y/other.txt", "1") }, "x", "x/y", "x/y/z", "x/y/z/deep.txt", "x/y/other.txt")
		p.expect(func() { p.write("x/y/z/deep.txt", "2") }, "x/y/z/deep.txt")
	}},
	{name: "an empty directory comes and goes", run: func(p *probe) {
		p.expect(func() { p.mkdir("empty") }, "empty")
		p.expect(func() { p.remove("empty") }, "-empty")
	}},
	{name: "a file renamed within, and over another", files: map[string]string{"a": "1", "b": "2", "d/e": "x"}, run: func(p *probe) {
		p.expect(func() { p.rename("a", "d/a") }, "-a", "d/a")
		p.expect(func() { p.rename("d/a", "b") }, "-d/a", "b")
	}},
	{name: "a directory renamed, then changed under its new name", files: map[string]string{"old/sub/f": "1", "old/g": "1"}, run: func(p *probe) {
		p.expect(func() { p.rename("old", "new") }, "-old", "-old/sub", "-old/sub/f", "-old/g", "new", "new/sub", "new/sub/f", "new/g")
		p.expect(func() { p.write("new/sub/f", "2"); p.write("new/sub/h", "1") }, "new/sub/f", "new/sub/h")
		p.expect(func() { p.write("old/sub/f", "3") }, "old", "old/sub", "old/sub/f")
		p.expect(func() { p.write("new/sub/f", "4"); p.write("old/sub/f", "4") }, "new/sub/f", "old/sub/f")
	}},
	{name: "two directories change places", files: map[string]string{"a/f": "a", "b/f": "b", "a/s/x": "ax", "b/s/x": "bx"}, run: func(p *probe) {
		p.expect(func() { p.rename("a", "t"); p.rename("b", "a"); p.rename("t", "b") }, "a/f", "b/f", "a/s/x", "b/s/x")
		p.expect(func() { p.write("a/s/x", "1"); p.write("b/s/x", "2") }, "a/s/x", "b/s/x")
	}},
	{name: "a directory is moved in from outside, and out again", run: func(p *probe) {
		outside := p.t.TempDir()
		put(p.t, filepath.Join(outside, "tree", "sub", "f"), "1")
		p.expect(func() { p.must(os.Rename(filepath.Join(outside, "tree"), p.path("tree"))) }, "tree", "tree/sub", "tree/sub/f")
		p.expect(func() { p.write("tree/sub/f", "2") }, "tree/sub/f")
		p.expect(func() { p.must(os.Rename(p.path("tree"), filepath.Join(outside, "tree"))) }, "-tree", "-tree/sub", "-tree/sub/f")
		p.expect(func() { put(p.t, filepath.Join(outside, "tree", "sub", "f"), "3") })
	}},
	{name: "a directory takes the place of a file and back", files: map[string]string{"x": "file"}, run: func(p *probe) {
		p.expect(func() { p.remove("x"); p.write("x/in", "1") }, "x", "x/in")
		p.expect(func() { p.write("x/in", "2") }, "x/in")
		p.expect(func() { p.remove("x"); p.write("x", "file again") }, "x", "-x/in")
		p.expect(func() { p.write("x", "changed") }, "x")
	}},
	{name: "a directory removed and added back is watched again", files: map[string]string{"d/e/f": "1"}, run: func(p *probe) {
		for i := range 5 {
			p.expect(func() { p.remove("d") }, "-d", "-d/e", "-d/e/f")
			p.expect(func() { p.write("d/e/f", "1") }, "d", "d/e", "d/e/f")
			p.expect(func() { p.write("d/e/f", fmt.Sprint("in ", i)) }, "d/e/f")
			p.remove("d")
			p.write("d/e/f", fmt.Sprint("at once ", i))
			p.write("d/e/f", fmt.Sprint("twice ", i))
			p.fence()
			if p.got["d/e/f"] != string(model.FileWritten) {
				p.t.Errorf("removed and added back at once: %s", p.report())
			}
			p.expect(func() { p.write("d/e/f", fmt.Sprint("still watched ", i)) }, "d/e/f")
		}
	}},
	{name: "the root itself comes later, goes and comes back", roots: []string{"later/root"}, run: func(p *probe) {
		p.expect(func() { p.write("later/other", "not below the root") })
		p.expect(func() { p.write("later/root/f", "1") }, "later/root", "later/root/f")
		p.expect(func() { p.write("later/root/f", "2") }, "later/root/f")
		p.expect(func() { p.remove("later") }, "-later/root", "-later/root/f")
		p.expect(func() { p.write("later/root/f", "3") }, "later/root", "later/root/f")
	}},
	{name: "a root that is a file, saved in place and by renaming over", files: map[string]string{".env": "A=1", "neighbour": "x"}, roots: []string{".env"}, run: func(p *probe) {
		p.expect(func() { p.write("neighbour", "y") })
		p.expect(func() { p.write(".env", "A=2") }, ".env")
		p.expect(func() { p.write("tmp", "A=3"); p.rename("tmp", ".env") }, ".env")
		p.expect(func() { p.write(".env", "A=4") }, ".env")
		p.expect(func() { p.remove(".env") }, "-.env")
		p.expect(func() { p.write(".env", "A=4") }, ".env")
	}},
	{name: "roots whose names begin alike stay apart", files: map[string]string{"data/f": "1", "data-logs/f": "1", "dat/f": "1"}, roots: []string{"data"}, run: func(p *probe) {
		p.expect(func() { p.write("data-logs/f", "2"); p.write("dat/f", "2"); p.write("data/f", "2") }, "data/f")
	}},
	{name: "nested roots report once", files: map[string]string{"src/f": "1"}, roots: []string{".", "src", "src/f"}, run: func(p *probe) {
		p.expect(func() { p.write("src/f", "2") }, "src/f")
		if p.seen > 2 {
			p.t.Errorf("%d batches for one change and one fence", p.seen)
		}
	}},
	{name: "a root inside what another root ignores", files: map[string]string{"src/gen/f": "1", "src/g": "1"}, ignore: []string{"gen"}, roots: []string{"src", "src/gen"}, run: func(p *probe) {
		p.expect(func() { p.write("src/gen/f", "2") }, "src/gen/f")
	}},
	{name: "a root that is a symlink to a directory is followed, and followed again when it turns", files: map[string]string{"one/f": "1", "two/f": "2"}, roots: []string{"link"}, run: func(p *probe) {
		p.expect(func() { p.must(os.Symlink("one", p.path("link"))) }, "link", "link/f")
		p.expect(func() { p.write("one/f", "changed") }, "link/f")
		p.expect(func() { p.must(os.Symlink("two", p.path("new"))); p.rename("new", "link") }, "link/f")
		p.expect(func() { p.write("two/f", "changed too"); p.write("one/f", "not followed any more") }, "link/f")
	}},
	{name: "a symlink inside is content: its target, not what it leads to", files: map[string]string{"real/f": "1"}, roots: []string{"src"}, run: func(p *probe) {
		p.expect(func() { p.mkdir("src"); p.must(os.Symlink("../real", p.path("src/link"))) }, "src", "src/link")
		p.expect(func() { p.write("real/f", "2") })
		p.expect(func() { p.must(os.Symlink("../other", p.path("src/new"))); p.rename("src/new", "src/link") }, "src/link")
	}},
	{name: "symlinks that go round in circles", run: func(p *probe) {
		p.expect(func() { p.mkdir("d"); p.must(os.Symlink("..", p.path("d/up"))) }, "d", "d/up")
		p.expect(func() { p.write("d/f", "1") }, "d/f")
	}},
	{name: "ignored files and directories, and an exception inside", files: map[string]string{"node_modules/a/x.js": "1", "app/x.js": "1", "logs/keep.txt": "1", "logs/a.log": "1"},
		ignore: []string{"node_modules", "*.tmp", "logs", "!logs/keep.txt"}, run: func(p *probe) {
			p.expect(func() {
				p.write("node_modules/a/x.js", "2")
				p.write("node_modules/b/y.js", "2")
				p.write("x.tmp", "2")
				p.write("app/x.tmp", "2")
				p.write("app/x.js", "2")
				p.write("logs/a.log", "2")
				p.write("logs/keep.txt", "2")
				p.write(".git/index", "2")
			}, "app/x.js", "app/x.tmp", "logs/keep.txt")
			p.expect(func() { p.remove("node_modules"); p.write("node_modules/c/z.js", "1") })
		}},
	{name: "a hard link and a fifo", files: map[string]string{"a": "1"}, run: func(p *probe) {
		p.expect(func() { p.must(os.Link(p.path("a"), p.path("b"))) }, "b")
		p.expect(func() { p.must(fifo(p.path("pipe"))) })
		p.expect(func() { p.write("c", "1") }, "c")
	}},
	{name: "odd names", run: func(p *probe) {
		p.expect(func() { p.write("a b/ü\n#?*[x]\\", "1"); p.write("...", "1"); p.write("-", "1") }, "a b", "a b/ü\n#?*[x]\\", "...", "-")
	}},
	{name: "a burst ends with the last content", run: func(p *probe) {
		p.expect(func() {
			for i := range 200 {
				p.write("f", fmt.Sprint(i))
			}
		}, "f")
	}},
	{name: "what came and went at once is not reported as there", run: func(p *probe) {
		p.expect(func() {
			p.write("gone", "1")
			p.remove("gone")
			p.write("d/gone", "1")
			p.remove("d")
			p.fence()
			delete(p.got, "gone")
			delete(p.got, "d")
			delete(p.got, "d/gone")
		})
	}},
}

func TestConformance(t *testing.T) {
	for _, mode := range []Mode{Native, Poll} {
		for _, c := range cases {
			t.Run(string(mode)+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				for name, content := range c.files {
					put(t, filepath.Join(dir, name), content)
				}
				c.run(start(t, mode, dir, c.ignore, c.roots...))
			})
		}
	}
}
