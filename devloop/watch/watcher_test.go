package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/model"
)

// noLeak waits until no more goroutines run than before.
func noLeak(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, mode := range []Mode{Native, Poll} {
		for _, busy := range []bool{false, true} {
			dir := t.TempDir()
			put(t, filepath.Join(dir, "f"), "1")
			ctx, cancel := context.WithCancel(t.Context())
			w, err := Start(ctx, Config{Roots: []Root{{Path: dir}}, Mode: mode})
			if err != nil {
				t.Fatal(err)
			}
			if busy { // nobody takes the batch
				put(t, filepath.Join(dir, "f"), "2")
				cancel()
			}
			w.Close()
			w.Close()
			if _, open := <-w.Batches(); open {
				for range w.Batches() {
				}
			}
			cancel()
		}
	}
	noLeak(t, before)
}

// A mirror applies batches to a copy of the tree, as a sync would.
func TestAnyHistoryConvergesToTheDisk(t *testing.T) {
	for _, mode := range []Mode{Native, Poll} {
		for seed := range int64(6) {
			t.Run(fmt.Sprintf("%s/%d", mode, seed), func(t *testing.T) {
				t.Parallel()
				p := start(t, mode, t.TempDir(), []string{"ignored", "**/*.o"})
				random := rand.New(rand.NewSource(seed))
				mirror := map[string]string{}
				for range 25 {
					for range 1 + random.Intn(30) {
						p.randomChange(random)
					}
					if random.Intn(3) == 0 {
						p.w.tree.native.lose(t, mode)
					}
					p.fence()
					for path, op := range p.got {
						apply(t, p, mirror, path, op)
					}
					clear(p.got)
				}
				compare(t, p, mirror)
			})
		}
	}
}

// lose drops what is pending, as the operating system does when its queue is full.
func (n *native) lose(t *testing.T, mode Mode) {
	t.Helper()
	if mode != Native {
		return
	}
	n.note(func() {
		clear(n.pending)
		n.overflow = true
	})
}

func (p *probe) randomChange(random *rand.Rand) {
	name := func() string {
		parts := make([]string, 1+random.Intn(4))
		for i := range parts {
			parts[i] = []string{"a", "b", "c", "ignored", "x.o"}[random.Intn(5)]
		}
		return filepath.Join(append([]string{"t"}, parts...)...)
	}
	from, to := p.path(name()), p.path(name())
	switch random.Intn(6) {
	case 0, 1, 2:
		if os.MkdirAll(filepath.Dir(from), 0o755) == nil {
			_ = os.WriteFile(from, []byte(strconv.Itoa(random.Intn(4))), 0o644) // a directory may be in the way
		}
	case 3:
		_ = os.RemoveAll(from)
	case 4:
		_ = os.Rename(from, to)
	case 5:
		_ = os.MkdirAll(from, 0o755)
	}
}

// apply brings one path of the mirror up to date with the disk.
func apply(t *testing.T, p *probe, mirror map[string]string, path, op string) {
	t.Helper()
	for known := range mirror {
		if _, inside := below(path, known); inside && op == string(model.FileRemoved) {
			delete(mirror, known)
		}
	}
	info, err := os.Lstat(p.path(path))
	switch {
	case errors.Is(err, fs.ErrNotExist) || isNotDir(err):
		delete(mirror, path)
	case err != nil:
		t.Fatal(err)
	case info.IsDir():
		mirror[path] = "dir"
	default:
		data, err := os.ReadFile(p.path(path))
		if err != nil {
			t.Fatal(err)
		}
		mirror[path] = string(data)
	}
}

func compare(t *testing.T, p *probe, mirror map[string]string) {
	t.Helper()
	disk := map[string]string{}
	err := filepath.WalkDir(p.dir, func(name string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(p.dir, name)
		if err != nil || rel == "." || rel == "fence" {
			return err
		}
		if rel == "ignored" || strings.HasSuffix(rel, ".o") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			disk[rel] = "dir"
			return nil
		}
		data, err := os.ReadFile(name)
		disk[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range disk {
		if mirror[name] != content {
			t.Errorf("%s is %q on disk, %q in the mirror", name, content, mirror[name])
		}
	}
	for name := range mirror {
		if _, there := disk[name]; !there && name != "." {
			t.Errorf("%s is in the mirror, not on disk", name)
		}
	}
}

func TestBranchSwitchWithTenThousandFiles(t *testing.T) {
	for mode, dirs := range map[Mode]int{Native: 100, Poll: 20} {
		t.Run(string(mode), func(t *testing.T) {
			p := start(t, mode, t.TempDir(), nil)
			branch := func(b string, dirs ...int) {
				for _, d := range dirs {
					for f := range 100 {
						p.write(fmt.Sprintf("d%d/s%d/f%d", d, f%10, f), b)
					}
				}
			}
			all := make([]int, dirs)
			for i := range all {
				all[i] = i
			}
			branch("one", all...)
			p.fence()
			if n, want := len(p.got), dirs*(100+10+1); n != want {
				t.Fatalf("%d paths reported, want %d", n, want)
			}
			clear(p.got)
			p.seen = 0
			branch("two", all[:dirs/2]...)
			for _, d := range all[dirs/2:] {
				p.remove(fmt.Sprintf("d%d", d))
			}
			p.fence()
			if n, want := len(p.got), dirs/2*(100+100+10+1); n != want {
				t.Fatalf("%d paths reported, want %d", n, want)
			}
			t.Logf("switch reported in %d batches", p.seen)
		})
	}
}

func TestChattyFileDoesNotHoldUpOthers(t *testing.T) {
	p := start(t, Native, t.TempDir(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			_ = os.WriteFile(p.path("chatty.log"), []byte(strconv.Itoa(i)), 0o644)
		}
	}()
	begin := time.Now()
	p.expectWithin(func() { p.write("main.go", "1") }, "main.go")
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("reported after %s", took)
	}
	cancel()
	<-done
}

func (p *probe) expectWithin(do func(), path string) {
	p.t.Helper()
	do()
	p.until(path+" is reported", func() bool { return p.got[path] != "" })
}

func TestIgnoredLogCausesNoWork(t *testing.T) {
	p := start(t, Native, t.TempDir(), []string{"*.log"})
	for i := range 100 {
		p.write("chatty.log", strconv.Itoa(i))
	}
	p.fence()
	if p.seen != 1 {
		t.Errorf("%d batches, want one for the fence", p.seen)
	}
}

func TestIgnoredDirectoriesAreNotWatched(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"node_modules/a/b/c/f", "src/f", ".git/objects/00/f"} {
		put(t, filepath.Join(dir, name), "1")
	}
	p := start(t, Native, dir, []string{"node_modules"})
	with := p.w.Stats()
	for name := range p.w.tree.native.byPath {
		if strings.Contains(name, "node_modules") || strings.Contains(name, ".git") {
			t.Errorf("%s is watched", name)
		}
	}
	if want := strings.Count(dir, "/") + 2; with.Watched != want { // the directories that lead there, dir, src
		t.Errorf("%d directories watched, want %d", with.Watched, want)
	}
}

func TestNewRootsComeIntoViewInSilence(t *testing.T) {
	for _, mode := range []Mode{Native, Poll} {
		dir := t.TempDir()
		for _, name := range []string{"a/f", "b/f", "b/c/g"} {
			put(t, filepath.Join(dir, name), "1")
		}
		p := start(t, mode, dir, nil, "a")
		p.expect(func() { p.w.SetRoots(t.Context(), p.roots(nil, "b")) })
		p.expect(func() { p.write("a/f", "2"); p.write("b/f", "2"); p.write("b/c/g", "2") }, "b/f", "b/c/g")
		p.expect(func() { p.w.SetRoots(t.Context(), p.roots([]string{"c"}, "b")) })
		p.expect(func() { p.write("b/c/g", "3"); p.write("b/f", "3") }, "b/f")
		p.expect(func() { p.w.SetRoots(t.Context(), p.roots(nil, ".")) })
		p.expect(func() { p.write("a/f", "3"); p.write("b/c/g", "4") }, "a/f", "b/c/g")
	}
}

func TestWholeDirectoryIgnoredLaterIsForgotten(t *testing.T) {
	p := start(t, Native, t.TempDir(), nil)
	p.expect(func() { p.write("a/b/f", "1") }, "a", "a/b", "a/b/f")
	before := p.w.Stats()
	p.expect(func() { p.w.SetRoots(t.Context(), p.roots([]string{"a"})) })
	if after := p.w.Stats(); after.Watched != before.Watched-2 || after.Files != before.Files-1 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// inNamespace runs the named test again in its own user namespace, as a user
// who owns the files but has no privileges (uid 1000) or all of them (0).
func inNamespace(t *testing.T, uid int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "BERTH_WATCH_INNER=1", "TMPDIR="+t.TempDir())
	if err := namespaced(cmd, uid); err != nil {
		t.Skip("needs user namespaces: ", err)
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("needs user namespaces: ", err)
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestUnreadableDirectoryIsSaidAndComesBack(t *testing.T) {
	if os.Getenv("BERTH_WATCH_INNER") == "" {
		inNamespace(t, 1000)
		return
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "closed", "f"), "1")
	put(t, filepath.Join(dir, "open", "f"), "1")
	p := &probe{t: t, dir: dir}
	p.must(os.Chmod(p.path("closed"), 0))
	p = start(t, Native, dir, nil)
	p.expect(func() { p.write("open/f", "2") }, "open/f")
	p.mu.Lock()
	said := len(p.notices)
	p.mu.Unlock()
	if said != 1 || !strings.Contains(p.notices[0].Text, "closed") {
		t.Errorf("notices: %v", p.notices)
	}
	p.expect(func() { p.must(os.Chmod(p.path("closed"), 0o755)) }, "closed/f")
	p.expect(func() { p.write("closed/f", "2") }, "closed/f")
	p.expect(func() { p.must(os.Chmod(p.path("closed"), 0)); p.write("open/f", "3") }, "open/f")
	p.must(os.Chmod(p.path("closed"), 0o755))
}

func TestWithoutWatchesLeftTheRestIsPolled(t *testing.T) {
	if os.Getenv("BERTH_WATCH_INNER") == "" {
		inNamespace(t, 0)
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_inotify_watches", []byte("12"), 0o644); err != nil {
		t.Skip("needs its own watch limit: ", err)
	}
	dir := t.TempDir()
	for i := range 30 {
		put(t, filepath.Join(dir, fmt.Sprintf("d%d/f", i)), "1")
	}
	p := start(t, Native, dir, nil)
	if s := p.w.Stats(); s.Polled == 0 || s.Watched == 0 || s.Watched+s.Polled != s.Dirs {
		t.Fatalf("%+v", s)
	}
	for i := range 30 {
		name := fmt.Sprintf("d%d/f", i)
		p.expectWithin(func() { p.write(name, "2") }, name)
	}
	p.expectWithin(func() { p.write("d29/new/sub/f", "1") }, "d29/new/sub/f")
	p.expectWithin(func() { p.write("d29/new/sub/f", "2") }, "d29/new/sub/f")
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.notices) != 1 || !strings.Contains(p.notices[0].Hint, "sysctl fs.inotify.max_user_watches") {
		t.Errorf("notices: %v", p.notices)
	}
}

func TestWithoutAnyInstanceEverythingIsPolled(t *testing.T) {
	if os.Getenv("BERTH_WATCH_INNER") == "" {
		inNamespace(t, 0)
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_inotify_instances", []byte("0"), 0o644); err != nil {
		t.Skip("needs its own instance limit: ", err)
	}
	p := start(t, Native, t.TempDir(), nil)
	p.expect(func() { p.write("a/f", "1") }, "a", "a/f")
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.notices) != 1 || !strings.Contains(p.notices[0].Hint, "max_user_instances") {
		t.Errorf("notices: %v", p.notices)
	}
}

func TestDebounce(t *testing.T) {
	ms := func(n int) time.Time { return time.UnixMilli(int64(n)) }
	for _, c := range []struct {
		name   string
		events [][2]int // at ms, paths
		want   int      // deadline
	}{
		{"one event", [][2]int{{1000, 1}}, 1015},
		{"a second one moves it", [][2]int{{1000, 1}, {1010, 1}}, 1025},
		{"a steady writer is flushed", [][2]int{{1000, 1}, {1150, 1}, {1295, 1}}, 1300},
		{"a checkout pauses longer", [][2]int{{1000, 1}, {1010, 100}}, 1085},
		{"a checkout takes longer", [][2]int{{1000, 1}, {2490, 100}}, 2500},
	} {
		d := debounce{quiet: 15 * time.Millisecond, longest: 300 * time.Millisecond}
		for _, e := range c.events {
			d.event(ms(e[0]), ms(e[0]), e[1])
		}
		if got := d.deadline(); !got.Equal(ms(c.want)) {
			t.Errorf("%s: %d, want %d", c.name, got.UnixMilli(), c.want)
		}
		if first := d.reset(); !first.Equal(ms(c.events[0][0])) || !d.deadline().IsZero() {
			t.Errorf("%s: after reset %v", c.name, d)
		}
	}
}

func TestMatcher(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		path     string
		match    bool
		prunes   bool
	}{
		{[]string{"node_modules"}, "/b/node_modules/x/y", true, true},
		{[]string{"node_modules"}, "/b/sub/node_modules", false, false},
		{[]string{"**/node_modules"}, "/b/sub/node_modules", true, true},
		{[]string{"/abs", "./dot/"}, "/b/abs", true, true},
		{[]string{"/abs", "./dot/"}, "/b/dot/x", true, true},
		{[]string{"*", "!src"}, "/b/src/x", false, false},
		{[]string{"*", "!src"}, "/b/other", true, true},
		{[]string{"*", "!src/deep/x"}, "/b/src", true, false},
		{[]string{"*", "!**/keep"}, "/b/any", true, false},
		{[]string{"data", "!data/*/keep"}, "/b/data/one", true, false},
		{[]string{"data", "!other/*/keep"}, "/b/data/one", true, true},
		{[]string{"*.log"}, "/elsewhere/x.log", false, false},
		{[]string{"*.log"}, "/bee/x.log", false, false},
		{[]string{"**"}, "/b", false, false},
		{nil, "/b/x", false, false},
	} {
		m, err := NewMatcher("/b", c.patterns)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time from what the first has kept
			if m.Match(c.path) != c.match || m.Prunes(c.path) != c.prunes {
				t.Errorf("%q on %s: match %v, prunes %v", c.patterns, c.path, m.Match(c.path), m.Prunes(c.path))
			}
		}
	}
	if _, err := NewMatcher("/b", []string{"[a"}); err == nil {
		t.Error("a malformed pattern is accepted")
	}
}

func TestMatcherSaysTheSameWhereverItWasBefore(t *testing.T) {
	patterns := []string{"a/b", "!a/b/c", "**/d", "*.log", "!a/keep.log"}
	used, err := NewMatcher("/b", patterns)
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/b/a", "/b/a/b", "/b/a/b/x", "/b/a/b/c/x", "/b/a/b/c/d/x", "/b/a/keep.log", "/b/x.log/y", "/b/c/d/e/f", "/b/a/bc"}
	for _, before := range paths {
		for _, path := range paths {
			fresh, err := NewMatcher("/b", patterns)
			if err != nil {
				t.Fatal(err)
			}
			used.Match(before)
			if used.Match(path) != fresh.Match(path) {
				t.Errorf("%s: match %v after %s", path, used.Match(path), before)
			}
		}
	}
}

func TestSortedPathsAreParentsFirst(t *testing.T) {
	got := sortedPaths(map[string]suspicion{"/a/b": {}, "/a": {}, "/a/b/c": {}})
	if !slices.Equal(got, []string{"/a", "/a/b", "/a/b/c"}) {
		t.Error(got)
	}
}
