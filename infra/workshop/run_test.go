package workshop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProgramsAreBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		text    string
		timeout time.Duration
		ok      bool
		output  string // is part of it
		why     string
	}{
		"passes":                 {"#!/bin/sh\necho fine", time.Minute, true, "fine", ""},
		"fails":                  {"#!/bin/sh\necho missing >&2; exit 3", time.Minute, false, "missing", "exit status 3"},
		"hangs":                  {"#!/bin/sh\necho begun; sleep 600", 300 * time.Millisecond, false, "begun", "its time limit"},
		"hangs in a child":       {"#!/bin/sh\nsleep 600 & wait", 300 * time.Millisecond, false, "", "its time limit"},
		"prints a megabyte":      {"#!/bin/sh\necho first; i=0; while [ $i -lt 1100 ]; do printf '%01000d' 0; i=$((i+1)); done; echo; echo last", time.Minute, true, "bytes left out", ""},
		"prints no UTF-8":        {"#!/bin/sh\nprintf 'a\\377b'", time.Minute, true, "a�b", ""},
		"leaves a child running": {"#!/bin/sh\nsleep 600 >/dev/null 2>&1 &\necho done", time.Minute, true, "done", ""},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			o, err := script{path: program(t, tc.text), dir: t.TempDir(), timeout: tc.timeout}.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if o.OK != tc.ok || !strings.Contains(o.Output, tc.output) || !strings.Contains(o.Why, tc.why) {
				t.Errorf("got %v, %q, %q", o.OK, o.Why, o.Output[:min(200, len(o.Output))])
			}
			if len(o.Output) > maxOutput+100 {
				t.Errorf("%d bytes of output are kept", len(o.Output))
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestAProgramThatCannotRunSaysWhy(t *testing.T) {
	path := program(t, "#!/no/such/interpreter\n")
	_, err := script{path: path, dir: t.TempDir(), timeout: time.Minute}.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "run ") {
		t.Errorf("got %v", err)
	}
}
