package watch

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/moby/patternmatcher"
)

// A Matcher holds ignore patterns in the syntax of .dockerignore, relative to
// a directory. It is safe for concurrent use.
type Matcher struct {
	base string

	mu       sync.Mutex
	patterns *patternmatcher.PatternMatcher
	above    []level // the directories above the path asked for last, outermost first
}

// A level is what the patterns say of a directory below the base.
type level struct {
	dir  string
	info patternmatcher.MatchInfo
}

// NewMatcher compiles patterns relative to the absolute directory base.
func NewMatcher(base string, patterns []string) (*Matcher, error) {
	clean := make([]string, 0, len(patterns))
	for _, p := range patterns {
		negated := strings.HasPrefix(p, "!")
		p = strings.TrimPrefix(p, "!")
		if p = path.Clean(filepath.ToSlash(p)); p == "" || p == "." {
			continue
		}
		p = strings.TrimPrefix(p, "/")
		if negated {
			p = "!" + p
		}
		clean = append(clean, p)
	}
	pm, err := patternmatcher.New(clean)
	if err != nil {
		return nil, err
	}
	return &Matcher{base: base, patterns: pm}, nil
}

// Match reports whether the patterns cover the absolute path or a directory
// above it. A path outside the base is not covered.
func (m *Matcher) Match(name string) bool {
	rel, ok := below(m.base, name)
	if !ok || rel == "" {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	matched, _, err := m.match(rel)
	return err == nil && matched
}

// match needs m.mu.
func (m *Matcher) match(rel string) (bool, patternmatcher.MatchInfo, error) {
	info, err := m.enter(filepath.Dir(rel))
	if err != nil {
		return false, info, err
	}
	return m.patterns.MatchesUsingParentResults(rel, info)
}

// enter returns what the patterns say of a directory. It is kept until
// something elsewhere is asked for, so that a walk costs one round of patterns
// a file.
func (m *Matcher) enter(dir string) (patternmatcher.MatchInfo, error) {
	if dir == "." {
		m.above = m.above[:0]
		return patternmatcher.MatchInfo{}, nil
	}
	if i := slices.IndexFunc(m.above, func(l level) bool { return l.dir == dir }); i >= 0 {
		m.above = m.above[:i+1]
		return m.above[i].info, nil
	}
	_, info, err := m.match(dir)
	if err == nil {
		m.above = append(m.above, level{dir, info})
	}
	return info, err
}

// Prunes reports whether nothing below the absolute directory can matter: it
// is covered, and no exception (!pattern) can bring back something inside.
func (m *Matcher) Prunes(dir string) bool {
	if !m.Match(dir) {
		return false
	}
	if !m.patterns.Exclusions() {
		return true
	}
	rel, _ := below(m.base, dir)
	for _, p := range m.patterns.Patterns() {
		if p.Exclusion() && related(fixedPrefix(p.String()), rel) {
			return false
		}
	}
	return true
}

// fixedPrefix returns the leading elements of a pattern that have no wildcard.
func fixedPrefix(pattern string) string {
	elements := strings.Split(filepath.ToSlash(pattern), "/")
	for i, e := range elements {
		if strings.ContainsAny(e, `*?[\`) {
			elements = elements[:i]
			break
		}
	}
	return filepath.FromSlash(strings.Join(elements, "/"))
}

// related reports whether one of two relative paths contains the other.
func related(a, b string) bool {
	_, ab := below(a, b)
	_, ba := below(b, a)
	return ab || ba
}

// below returns the path of name relative to dir, "" for dir itself, and
// whether name is dir or inside it. It compares path elements.
func below(dir, name string) (string, bool) {
	rel, ok := strings.CutPrefix(name, dir)
	if !ok || rel == "" || dir == "" || dir[len(dir)-1] == filepath.Separator {
		return rel, ok
	}
	return strings.CutPrefix(rel, string(filepath.Separator))
}
