package workshop

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"

	"github.com/berth-dev/berth/infra/problem"
)

// A Finding is one fault of a workshop.
type Finding struct {
	File string `json:"file"` // below the workshop's folder
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
}

// String is file:line: text.
func (f Finding) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// Lint finds what would trouble a learner: faults of workshop.yaml, missing or
// broken texts, programs that cannot run.
func Lint(dir string) ([]Finding, error) {
	w, err := Read(dir)
	if err != nil {
		var p *problem.Problem
		if !errors.As(err, &p) || p.Err == nil || !strings.HasPrefix(p.What, "read ") {
			return nil, err
		}
		var found []Finding
		for line := range strings.Lines(p.Err.Error()) {
			found = append(found, yamlFinding(strings.TrimSpace(line)))
		}
		return found, nil
	}
	var found []Finding
	for i, b := range w.Builds {
		if _, err := os.Stat(filepath.Join(w.Dir, b.Dir, "Dockerfile")); err != nil {
			found = append(found, Finding{File: File, Text: fmt.Sprintf("builds[%d]: %q has no Dockerfile", i, b.Dir)})
		}
	}
	for _, s := range w.Steps {
		found = append(found, w.lintStep(s)...)
	}
	return found, nil
}

// yamlLine is where a fault of YAML says that it stands.
var yamlLine = regexp.MustCompile(`\bline ([0-9]+)(?:, column [0-9]+)?: `)

// yamlFinding reads "line N: text".
func yamlFinding(message string) Finding {
	at := yamlLine.FindStringSubmatchIndex(message)
	if at == nil {
		return Finding{File: File, Text: message}
	}
	line, _ := strconv.Atoi(message[at[2]:at[3]])
	return Finding{File: File, Line: line, Text: message[at[1]:]}
}

func (w Workshop) lintStep(s Step) []Finding {
	var found []Finding
	say := func(name string, line int, format string, args ...any) {
		found = append(found, Finding{File: filepath.Join(s.Dir, name), Line: line, Text: fmt.Sprintf(format, args...)})
	}
	info, err := os.Stat(filepath.Join(w.Dir, s.Dir))
	if err != nil || !info.IsDir() {
		return []Finding{{File: s.Dir, Text: "the step's folder is missing"}}
	}
	source, err := w.Text(s)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		say(TextFile, 0, "the step has no text")
	case err != nil:
		say(TextFile, 0, "%v", err)
	default:
		for _, f := range lintText(filepath.Join(w.Dir, s.Dir), source) {
			say(TextFile, f.Line, "%s", f.Text)
		}
	}
	have := map[Part]bool{}
	for _, part := range Parts {
		path, err := w.Program(s, part)
		if err != nil {
			say(string(part), 0, "%v", err)
		}
		if path == "" {
			continue
		}
		have[part] = true
		if fault := programFault(path); fault != "" {
			say(filepath.Base(path), 1, "%s", fault)
		}
	}
	if have[Solve] && !have[Check] {
		say("", 0, "there is a solve and no check: nobody learns whether it worked")
	}
	if s.Reset != ResetCheckpoint && have[Solve] && !have[Cleanup] {
		say("", 0, "the step cannot be reset: give it a cleanup, or say reset: checkpoint")
	}
	return found
}

// programFault says why a program could not be run, "" when it can.
func programFault(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	if runtime.GOOS == "windows" {
		return ""
	}
	if info.Mode()&0o111 == 0 {
		return "it is not executable: chmod +x"
	}
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := f.Read(head)
	head = head[:n]
	if !bytes.HasPrefix(head, []byte("#!")) {
		if bytes.HasPrefix(head, []byte("\x7fELF")) || !utf8.Valid(head) {
			return "" // a program of the machine
		}
		return "it has no first line such as #!/bin/sh"
	}
	first, _, _ := bytes.Cut(head, []byte("\n"))
	if bytes.HasSuffix(first, []byte("\r")) {
		return "its lines end as on Windows (CR LF), which its interpreter will not find"
	}
	return ""
}

// lintText finds faults in Markdown that a reader would see.
func lintText(dir string, source []byte) []Finding {
	if !utf8.Valid(source) {
		return []Finding{{Text: "it is not UTF-8"}}
	}
	var found []Finding
	if line := openFence(source); line > 0 {
		found = append(found, Finding{Line: line, Text: "the code block is never closed"})
	}
	headings := 0
	document := goldmark.DefaultParser().Parse(text.NewReader(source))
	err := ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			headings++
			if headings > 1 && n.Level == 1 {
				found = append(found, Finding{Line: lineAt(source, n), Text: "a second title (#): use ## for sections"})
			}
		case *ast.Link:
			found = append(found, missing(dir, string(n.Destination), lineAt(source, n))...)
		case *ast.Image:
			found = append(found, missing(dir, string(n.Destination), lineAt(source, n))...)
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		found = append(found, Finding{Text: err.Error()})
	}
	if len(bytes.TrimSpace(source)) == 0 {
		found = append(found, Finding{Line: 1, Text: "it is empty"})
	}
	return found
}

// LinkedFile is the file of a step's folder that a link of its text names, "" for
// one that leads elsewhere: to another site, or to a place of the text.
func LinkedFile(destination string) string {
	target, _, _ := strings.Cut(destination, "#")
	if strings.Contains(target, ":") || strings.HasPrefix(target, "/") {
		return ""
	}
	if plain, err := url.PathUnescape(target); err == nil {
		target = plain
	}
	return target
}

// missing is the finding for a link to a file that the page cannot show.
func missing(dir, destination string, line int) []Finding {
	target := LinkedFile(destination)
	if target == "" {
		return nil
	}
	if !filepath.IsLocal(filepath.FromSlash(target)) {
		return []Finding{{Line: line, Text: fmt.Sprintf("links to %q, which is outside the step's folder", target)}}
	}
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(target)))
	switch {
	case err != nil:
		return []Finding{{Line: line, Text: fmt.Sprintf("links to %q, which is not there", target)}}
	case !info.Mode().IsRegular():
		return []Finding{{Line: line, Text: fmt.Sprintf("links to %q, which is no file", target)}}
	}
	return nil
}

// lineAt is the line that a node stands on, 0 when it cannot be told.
func lineAt(source []byte, n ast.Node) int {
	for ; n != nil; n = n.Parent() {
		if n.Type() == ast.TypeBlock && n.Lines() != nil && n.Lines().Len() > 0 {
			return 1 + bytes.Count(source[:n.Lines().At(0).Start], []byte("\n"))
		}
	}
	return 0
}

// openFence is the line of a code fence that is never closed, 0 when there is
// none (CommonMark 0.31, 4.5).
func openFence(source []byte) int {
	open, fence, number := 0, "", 0
	for line := range strings.Lines(string(source)) {
		number++
		trimmed := strings.TrimRight(strings.TrimLeft(line, " "), "\r\n")
		if len(line)-len(strings.TrimLeft(line, " ")) > 3 && fence == "" {
			continue
		}
		mark := fenceOf(trimmed)
		switch {
		case mark == "":
		case fence == "":
			fence, open = mark, number
		case mark[0] == fence[0] && len(mark) >= len(fence) && strings.TrimSpace(trimmed[len(mark):]) == "":
			fence, open = "", 0
		}
	}
	return open
}

// fenceOf is the run of three or more backticks or tildes that a line begins
// with.
func fenceOf(line string) string {
	for _, c := range []string{"`", "~"} {
		if n := len(line) - len(strings.TrimLeft(line, c)); n >= 3 && (c == "~" || !strings.Contains(line[n:], "`")) {
			return line[:n]
		}
	}
	return ""
}
