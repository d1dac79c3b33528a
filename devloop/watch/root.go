package watch

import (
	"path/filepath"
	"strings"
)

// A Root is a file or directory to watch, with all below it. It may be absent
// and come, go and change its kind at any time.
type Root struct {
	Path   string     // absolute and clean; a symlink is followed
	Ignore []*Matcher // what is left out below Path; Path itself is never left out
}

// Editors writes down the patterns of what editors and version control leave
// in a tree and no program reads.
func Editors() []string {
	return []string{
		"**/.git", "**/.hg", "**/.svn", "**/.idea", "**/.DS_Store",
		"**/*~", "**/.*.sw[a-p]", "**/.*.swx", "**/.#*", "**/#*#", "**/*___jb_tmp___", "**/*___jb_old___", "**/.goutputstream-*",
	}
}

type roots []Root

// wantsFile reports whether some root covers the file.
func (rs roots) wantsFile(name string) bool {
	for _, r := range rs {
		if r.covers(name) {
			return true
		}
	}
	return false
}

// wantsDir reports whether the directory or anything below it can matter.
func (rs roots) wantsDir(name string) bool {
	for _, r := range rs {
		if _, leads := below(name, r.Path); leads {
			return true
		}
		if _, inside := below(r.Path, name); inside && !r.prunes(name) {
			return true
		}
	}
	return false
}

// inside reports whether the directory belongs to a root, so that all its
// entries are of interest, and not just those that lead to a root.
func (rs roots) inside(name string) bool {
	for _, r := range rs {
		if _, inside := below(r.Path, name); inside && !r.prunes(name) {
			return true
		}
	}
	return false
}

// isRoot reports whether name is a root or leads to one; symlinks on the way
// are followed.
func (rs roots) isRoot(name string) bool {
	for _, r := range rs {
		if _, leads := below(name, r.Path); leads {
			return true
		}
	}
	return false
}

// next lists the entries of a directory that lead to roots.
func (rs roots) next(dir string) []string {
	var names []string
	seen := map[string]bool{}
	for _, r := range rs {
		rel, leads := below(dir, r.Path)
		name, _, _ := strings.Cut(rel, string(filepath.Separator))
		if leads && name != "" && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

func (r Root) covers(name string) bool {
	rel, inside := below(r.Path, name)
	if !inside {
		return false
	}
	if rel == "" {
		return true
	}
	for _, m := range r.Ignore {
		if m.Match(name) {
			return false
		}
	}
	return true
}

func (r Root) prunes(dir string) bool {
	if dir == r.Path {
		return false
	}
	for _, m := range r.Ignore {
		if m.Prunes(dir) {
			return true
		}
	}
	return false
}
