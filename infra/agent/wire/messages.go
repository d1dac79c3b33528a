package wire

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
)

// Hello is what the server says first.
type Hello struct {
	Version int    `json:"version"` // of the protocol
	Binary  string `json:"binary"`  // sha256 of the agent's own binary, in hex
	Arch    string `json:"arch"`    // the Go architecture it runs on
}

// call is the payload of a request frame.
type call struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args,omitempty"`
}

// reply is the payload of a result frame.
type reply struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error *Error          `json:"error,omitempty"`
}

// Code is the kind of an error that the caller may want to tell apart.
type Code string

// The codes; the empty one is any other error.
const (
	CodeNotFound     Code = "not-found"
	CodeExists       Code = "exists"
	CodeReadOnly     Code = "read-only"     // a read-only volume
	CodeNoSupervisor Code = "no-supervisor" // the container's first process is not berth's
	CodeUnknown      Code = "unknown"       // the agent does not know the operation
	CodeCanceled     Code = "canceled"      // the caller's own wish
	CodeOverloaded   Code = "overloaded"    // too many requests at a time
)

// Error is an error of the other side. errors.Is finds fs.ErrNotExist,
// fs.ErrExist, and the sentinel errors of this package in it.
type Error struct {
	Code    Code   `json:"code,omitempty"`
	Message string `json:"message"`
}

// Error returns the message as the other side wrote it.
func (e *Error) Error() string { return e.Message }

// Is makes codes comparable with errors.Is.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return e.Code == CodeNotFound
	case fs.ErrExist:
		return e.Code == CodeExists
	}
	t, ok := target.(*Error)
	return ok && t.Message == "" && t.Code == e.Code
}

// toError makes err ready for the way.
func toError(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return &Error{Code: e.Code, Message: err.Error()}
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Code: CodeNotFound, Message: err.Error()}
	case errors.Is(err, os.ErrExist):
		return &Error{Code: CodeExists, Message: err.Error()}
	}
	return &Error{Message: err.Error()}
}
