package image

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berth-dev/berth/infra/problem"
)

// A missingError is a Problem that says which images cannot be had.
type missingError struct {
	refs    []string
	problem error
}

func (e *missingError) Error() string { return e.problem.Error() }
func (e *missingError) Unwrap() error { return e.problem }

// missingImages lists images that are not there, and how to bring them.
func missingImages(refs []string, why error) error {
	what := fmt.Sprintf("image %q is not in the engine", refs[0])
	if len(refs) > 1 {
		what = fmt.Sprintf("%d images are not in the engine: %s", len(refs), strings.Join(refs, ", "))
	}
	return &missingError{refs, problem.New(what, why, missingHint(refs))}
}

func missingHint(refs []string) string {
	var pulls []string
	for _, ref := range refs {
		pulls = append(pulls, "docker pull "+ref)
	}
	return fmt.Sprintf("`%s`; without a registry: `docker save %s -o images.tar` where they are, and `docker load -i images.tar` here; `berth offline build` makes stand-ins of common base images",
		strings.Join(pulls, " && "), strings.Join(refs, " "))
}

// IsAbsent reports whether an error says that an image can neither be found in
// the engine nor be pulled.
func IsAbsent(err error) bool {
	var missing *missingError
	return errors.As(err, &missing)
}

// WithMissing makes the advice of err, which may be many errors, about all
// images that are missing instead of the first.
func WithMissing(err error) error {
	refs := missingIn(err)
	if len(refs) < 2 {
		return err
	}
	return &adviceError{err, problem.Problem{What: err.Error(), Hint: missingHint(refs)}}
}

// missingIn lists the images that any error in the tree of err misses.
func missingIn(err error) []string {
	if missing, ok := err.(*missingError); ok { //nolint:errorlint // the whole tree is walked
		return missing.refs
	}
	switch e := err.(type) { //nolint:errorlint // the whole tree is walked
	case interface{ Unwrap() error }:
		return missingIn(e.Unwrap())
	case interface{ Unwrap() []error }:
		var refs []string
		for _, one := range e.Unwrap() {
			refs = append(refs, missingIn(one)...)
		}
		return refs
	}
	return nil
}

// An adviceError is an error with other advice.
type adviceError struct {
	error
	advice problem.Problem
}

func (e *adviceError) Unwrap() error { return e.error }

// As gives whoever looks for a Problem this one.
func (e *adviceError) As(target any) bool {
	p, ok := target.(**problem.Problem)
	if ok {
		*p = &e.advice
	}
	return ok
}
