package composefile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/berth-dev/berth/translate"
)

// A reader reads one project. It collects errors, so that one run names all
// of them, and notes every file it looks at.
type reader struct {
	ctx      context.Context
	opts     Options
	home     string
	errs     translate.Errors
	warnings Warnings
	files    map[string]bool  // looked at, absolute
	parsed   int              // compose files
	nodes    int              // values, anchors written out
	included map[string]*node // models of includes, by what they depend on
	stdin    []byte           // what was read from there
	warned   map[string]bool  // warnings given
	places   translate.Positions
	named    bool // the project's name is that of the files
}

// fail reports an error; reading goes on.
func (r *reader) fail(pos translate.Position, what string, err error, cure string) {
	r.errs = append(r.errs, &translate.Error{Position: pos, What: what, Err: err, Cure: cure})
}

// failAt reports an error about a node, which further checks then pass over.
func (r *reader) failAt(n *node, p *attribute, err error, cure string) {
	n.broken = true
	r.fail(n.pos, p.String(), err, cure)
}

func (r *reader) failures(errs translate.Errors) { r.errs = append(r.errs, errs...) }

// warn notes what the user should know.
func (r *reader) warn(pos translate.Position, text string) {
	if r.warned[text] {
		return
	}
	r.warned[text] = true
	r.warnings = append(r.warnings, Warning{Position: pos, Text: text})
}

// maxErrors is how many errors are reported at once.
const maxErrors = 50

// err returns the errors so far, each once, sorted by place.
func (r *reader) err() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if len(r.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errs, func(a, b *translate.Error) int {
		return cmp.Or(strings.Compare(a.Position.File, b.Position.File), cmp.Compare(a.Position.Line, b.Position.Line), strings.Compare(a.What, b.What))
	})
	errs := slices.CompactFunc(r.errs, func(a, b *translate.Error) bool { return a.Error() == b.Error() })
	if more := len(errs) - maxErrors; more > 0 {
		errs = append(errs[:maxErrors:maxErrors], &translate.Error{What: fmt.Sprintf("%d more errors", more)})
	}
	return errs
}

// parse returns a fresh copy of the documents of a compose file. from is where
// it is named: the zero position for files of the command line.
func (r *reader) parse(file string, from translate.Position) []document {
	name := r.opts.display(file)
	content, err := r.content(file)
	if err != nil {
		cure := "correct the path"
		if from.File == "" {
			cure = "name an existing file with -f, or leave -f out to search for one"
		}
		r.fail(from, fmt.Sprintf("read compose file %q", name), err, cure)
		return nil
	}
	r.parsed++
	if r.parsed > maxFiles {
		r.fail(from, "compose project", fmt.Errorf("it has more than %d files", maxFiles), "")
		return nil
	}
	return r.parseFile(name, content)
}

// content reads a compose file or standard input.
func (r *reader) content(file string) ([]byte, error) {
	if file != stdin {
		r.files[file] = true
		return readSmallFile(file, maxComposeFile)
	}
	if r.stdin == nil {
		if r.opts.Stdin == nil {
			return nil, errors.New("there is no standard input")
		}
		content, err := io.ReadAll(io.LimitReader(r.opts.Stdin, maxComposeFile+1))
		if err != nil {
			return nil, err
		}
		if len(content) > maxComposeFile {
			return nil, tooLarge(maxComposeFile)
		}
		r.stdin = content
	}
	return r.stdin, nil
}
