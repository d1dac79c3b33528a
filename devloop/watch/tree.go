package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A tree is the index: what was there when it was last looked at. One
// goroutine uses it.
type tree struct {
	roots   roots
	before  roots // the roots up to now; while they change, those before
	volumes map[string]*dir
	native  *native       // nil when everything is polled
	polled  map[*dir]bool // directories that events do not cover
	now     func() time.Time
	notify  func(Notice)

	files, dirs int
	diff        diff
}

// A dir is a directory of the index.
type dir struct {
	path       string
	id         fileID
	watch      *watchEntry // nil when events do not cover it
	unreadable bool
	dirs       entries[*dir]
	files      entries[file]
}

// how says how closely to look at one entry of a directory.
type how struct {
	content bool // compare content even if size and time are the same
	fresh   bool // a directory may be another one of the same name: watch it anew
	deep    bool // look at everything below a directory
}

func newTree(now func() time.Time, notify func(Notice)) *tree {
	return &tree{volumes: map[string]*dir{}, polled: map[*dir]bool{}, now: now, notify: notify, diff: newDiff()}
}

// scan brings the whole index up to date.
func (t *tree) scan() {
	for _, r := range t.roots {
		name := filepath.VolumeName(r.Path) + string(filepath.Separator)
		if t.volumes[name] == nil {
			t.volumes[name] = &dir{path: name}
			t.dirs++
		}
	}
	for _, d := range t.volumes {
		t.sync(d, how{deep: true})
	}
}

// find returns the directory of the index at path, nil if there is none.
func (t *tree) find(path string) *dir {
	volume := filepath.VolumeName(path) + string(filepath.Separator)
	d := t.volumes[volume]
	rest := strings.TrimPrefix(path, volume)
	for rest != "" && d != nil {
		var name string
		name, rest, _ = strings.Cut(rest, string(filepath.Separator))
		d, _ = d.dirs.get(name)
	}
	return d
}

// look brings one path up to date. Paths whose directory is not in the index
// belong to something that is looked at as a whole.
func (t *tree) look(path string, h how) {
	d := t.find(filepath.Dir(path))
	if d == nil || filepath.Dir(path) == path {
		return
	}
	info, err := os.Lstat(path)
	switch {
	case err == nil:
		t.check(d, filepath.Base(path), info, h)
	case gone(err):
		t.drop(d, filepath.Base(path))
	}
}

// sync brings a directory up to date. It is watched before it is listed, so
// that nothing that comes meanwhile is missed.
func (t *tree) sync(d *dir, h how) {
	if t.native != nil && d.watch == nil {
		t.watch(d)
	}
	infos, err := t.list(d)
	if err != nil {
		if !gone(err) && !d.unreadable {
			d.unreadable = true
			t.notify(Notice{Text: "directory " + d.path + " cannot be read and is not watched: " + cause(err), Hint: "make it readable, or ignore it"})
		}
		return
	}
	d.unreadable = false
	kept := 0
	for _, info := range infos {
		name := info.Name()
		t.check(d, name, info, h)
		if d.files.has(name) || d.dirs.has(name) {
			kept++
		}
	}
	d.files.trim()
	d.dirs.trim()
	if kept == len(d.files)+len(d.dirs) {
		return
	}
	there := make(map[string]bool, len(infos))
	for _, info := range infos {
		there[info.Name()] = true
	}
	for _, f := range slices.Backward(d.files) {
		if !there[f.name] {
			t.leave(d, f.name, t.roots.wantsFile(filepath.Join(d.path, f.name)))
		}
	}
	for _, sub := range slices.Backward(d.dirs) {
		if !there[sub.name] {
			t.leave(d, sub.name, t.roots.wantsDir(sub.value.path))
		}
	}
}

// leave takes an entry out of the index that was not found any more; it is a
// removal only if it would still be wanted.
func (t *tree) leave(d *dir, name string, wanted bool) {
	if wanted {
		t.drop(d, name)
	} else {
		t.forget(d, name)
	}
}

// list returns what is in d: all of it inside a root, else only what leads to one.
func (t *tree) list(d *dir) ([]fs.FileInfo, error) {
	var infos []fs.FileInfo
	if !t.roots.inside(d.path) {
		for _, name := range t.roots.next(d.path) {
			if info, err := os.Lstat(filepath.Join(d.path, name)); err == nil {
				infos = append(infos, info)
			}
		}
		return infos, nil
	}
	list, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	infos = make([]fs.FileInfo, 0, len(list))
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			infos = append(infos, info)
		}
	}
	return infos, nil
}

// check compares one entry of d with the index.
func (t *tree) check(d *dir, name string, info fs.FileInfo, h how) {
	path := filepath.Join(d.path, name)
	if info.Mode()&fs.ModeSymlink != 0 && t.roots.isRoot(path) {
		if followed, err := os.Stat(path); err == nil {
			info = followed
		}
	}
	if info.IsDir() {
		t.checkDir(d, name, path, info, h)
	} else {
		t.checkFile(d, name, path, info, h)
	}
}

func (t *tree) checkDir(d *dir, name, path string, info fs.FileInfo, h how) {
	if d.files.has(name) {
		t.drop(d, name)
	}
	if !t.roots.wantsDir(path) {
		t.forget(d, name)
		return
	}
	child, known := d.dirs.get(name)
	switch {
	case !known:
		child = &dir{path: path, id: idOf(info)}
		d.dirs.set(filepath.Base(path), child) // a part of what child holds anyway
		t.dirs++
		if t.isNews(path) {
			t.diff.written(path)
		}
		t.sync(child, how{deep: true})
	case h.fresh || child.id != idOf(info):
		t.unwatch(child)
		child.id = idOf(info)
		t.sync(child, how{content: h.content, fresh: true, deep: true})
	case h.deep || child.unreadable:
		t.sync(child, h)
	}
}

func (t *tree) checkFile(d *dir, name, path string, info fs.FileInfo, h how) {
	if d.dirs.has(name) {
		t.drop(d, name)
	}
	old, known := d.files.get(name)
	switch {
	case !t.roots.wantsFile(path):
		t.forget(d, name)
		return
	case !regular(info.Mode()):
		t.drop(d, name)
		return
	}
	f := fileOf(info, t.now())
	if !known {
		t.files++
		news := t.isNews(path)
		if news || f.racy { // the hash of a racy file cannot be had later: nothing would show that it changed
			f.content(path)
		}
		if news {
			t.diff.written(path)
		}
		d.files.set(strings.Clone(name), f) // name may be part of a whole path, which would stay with it
		return
	}
	if old.stats(f) && !old.racy && !h.content {
		return
	}
	f.content(path)
	d.files.set(name, f)
	switch {
	case old.same(f):
		if h.content || old.mtime != f.mtime { // else nobody saved it: it was only too young to be sure
			t.diff.unchanged(path)
		}
	case old.stats(f) && (!old.hashed || !f.hashed) && !old.racy:
		// The content cannot be compared, and nothing else speaks for a change.
	default:
		t.diff.written(path)
	}
}

// isNews reports whether something that the index did not have has come into
// being, rather than into view when the roots changed. Directories on the way
// to a root are no news.
func (t *tree) isNews(path string) bool {
	return t.roots.wantsFile(path) && t.before.wantsFile(path)
}

// drop takes an entry of d, with all below it, out of the index and reports it removed.
func (t *tree) drop(d *dir, name string) {
	path := filepath.Join(d.path, name)
	if d.files.remove(name) {
		t.files--
		t.diff.removed(path)
	}
	child, ok := d.dirs.get(name)
	if !ok {
		return
	}
	if t.roots.wantsFile(path) {
		t.diff.removed(path)
	}
	for _, f := range slices.Backward(child.files) {
		t.drop(child, f.name)
	}
	for _, sub := range slices.Backward(child.dirs) {
		t.drop(child, sub.name)
	}
	t.unwatchOne(child)
	d.dirs.remove(name)
	t.dirs--
}

// forget takes an entry out of the index that no root covers any more.
func (t *tree) forget(d *dir, name string) {
	if d.files.remove(name) {
		t.files--
	}
	if child, ok := d.dirs.get(name); ok {
		for _, f := range slices.Backward(child.files) {
			t.forget(child, f.name)
		}
		for _, sub := range slices.Backward(child.dirs) {
			t.forget(child, sub.name)
		}
		t.unwatchOne(child)
		d.dirs.remove(name)
		t.dirs--
	}
}

// unhashed lists the files whose content is not known yet, until budget bytes.
func (t *tree) unhashed(budget int64) []hashJob {
	jobs := make([]hashJob, 0, t.files)
	var walk func(d *dir)
	walk = func(d *dir) {
		for _, e := range d.files {
			if f := e.value; !f.hashed && f.size <= hashLimit && f.size <= budget {
				budget -= f.size
				jobs = append(jobs, hashJob{dir: d, name: e.name, file: f})
			}
		}
		for _, sub := range d.dirs {
			walk(sub.value)
		}
	}
	for _, d := range t.volumes {
		walk(d)
	}
	return jobs
}

// learn notes hashes that were computed aside, unless the file changed since.
func (t *tree) learn(jobs []hashJob) {
	for _, j := range jobs {
		if f, ok := j.dir.files.get(j.name); ok && j.file.hashed && !f.hashed && f.stats(j.file) {
			f.hash, f.hashed = j.file.hash, true
			j.dir.files.set(j.name, f)
		}
	}
}

// gone reports whether an error means that a path is not there.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || isNotDir(err) }

// cause strips the path, which the message has already, from a file error.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// file returns the index entry of a file.
func (t *tree) file(path string) (file, bool) {
	d := t.find(filepath.Dir(path))
	if d == nil {
		return file{}, false
	}
	return d.files.get(filepath.Base(path))
}
