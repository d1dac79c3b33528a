package composefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/berth-dev/berth/translate"
)

// Limits that keep memory and time bounded whatever the input. A project of
// 5000 services stays below a fifth of each.
const (
	maxComposeFile = 8 << 20   // bytes of one file
	maxNodes       = 2_000_000 // values of a project, anchors written out
	maxDepth       = 64        // levels of nesting; compose needs about ten
	maxFiles       = 1000      // compose files of a project
	maxServices    = 10_000    // services of a project, twice what berth is measured with
	maxName        = 255       // characters of a key
)

// A document is one YAML document of a compose file.
type document struct {
	root   *node
	resets [][]string // paths whose values from earlier files do not count (!reset, !override)
}

// parseFile parses the YAML documents of a compose file. Errors go to r.
func (r *reader) parseFile(file string, content []byte) []document {
	if !utf8.Valid(content) {
		r.fail(translate.Position{File: file, Line: invalidLine(content)}, "compose file", errors.New("it is not valid UTF-8"), "save the file as UTF-8 text")
		return nil
	}
	var docs []document
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var root yaml.Node
		err := decode(decoder, &root)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			r.failures(translate.Errors{yamlError(file, content, err)})
			return nil
		}
		b := builder{reader: r, file: file, active: map[*yaml.Node]bool{}}
		doc := document{root: b.document(&root)}
		doc.resets = b.resets
		if b.failed {
			return nil
		}
		if doc.root != nil {
			docs = append(docs, doc)
		}
	}
}

// decode reads the next document. The library's panics on malformed input are
// one more kind of syntax error.
func decode(decoder *yaml.Decoder, into *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed YAML: %v", p)
		}
	}()
	return decoder.Decode(into)
}

// invalidLine is the line of the first byte that is no UTF-8.
func invalidLine(content []byte) int {
	line := 1
	for len(content) > 0 {
		c, size := utf8.DecodeRune(content)
		if c == utf8.RuneError && size == 1 {
			return line
		}
		if c == '\n' {
			line++
		}
		content = content[size:]
	}
	return line
}

var (
	lineOfError   = regexp.MustCompile(`line (\d+)(?:, column \d+)?: `)
	offsetOfError = regexp.MustCompile(`^offset (\d+): `)
)

// yamlError takes line and text out of an error of the YAML library, which
// counts lines from 1 in its scanner and from 0 in its parser.
func yamlError(file string, content []byte, err error) *translate.Error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &translate.Error{Position: translate.Position{File: file}, What: "not valid YAML", Cure: "check the indentation and the quotes around this line"}
	if m := offsetOfError.FindStringSubmatch(text); m != nil {
		offset, _ := strconv.Atoi(m[1])
		e.Position.Line = 1 + bytes.Count(content[:min(offset, len(content))], []byte("\n"))
		e.Err = errors.New(text[len(m[0]):])
		return e
	}
	parser := strings.HasPrefix(text, "while parsing") && !strings.Contains(text, "TAG") && !strings.HasPrefix(text, "while parsing a tag")
	if all := lineOfError.FindAllStringSubmatchIndex(text, -1); len(all) > 0 {
		last := all[len(all)-1]
		e.Position.Line, _ = strconv.Atoi(text[last[2]:last[3]])
		text = text[last[1]:]
		if parser || strings.Contains(text, "<document start>") {
			e.Position.Line++
		}
	}
	e.Err = errors.New(text)
	return e
}

// A builder turns one YAML document into nodes.
type builder struct {
	*reader
	file   string
	path   []string
	resets [][]string
	active map[*yaml.Node]bool // anchors that are being written out
	failed bool
}

// document returns the root mapping, nil for an empty document.
func (b *builder) document(n *yaml.Node) *node {
	if n.Kind != yaml.DocumentNode || len(n.Content) == 0 {
		return nil
	}
	root := b.build(n.Content[0], 0)
	if b.failed || root.kind == nullKind {
		return nil
	}
	if root.kind != mapKind {
		b.refuse(n.Content[0], "compose file", fmt.Errorf("it must be a mapping with services, not %s", root.describe()), "start with a line `services:`")
		return nil
	}
	return root
}

// refuse reports an error at a node; nothing more is read of the document.
func (b *builder) refuse(n *yaml.Node, what string, err error, cure string) {
	if !b.failed {
		b.fail(translate.Position{File: b.file, Line: n.Line}, what, err, cure)
	}
	b.failed = true
}

func (b *builder) build(n *yaml.Node, depth int) *node {
	out := &node{pos: translate.Position{File: b.file, Line: n.Line}}
	if b.failed {
		return out
	}
	b.nodes++
	switch {
	case b.nodes > maxNodes:
		b.refuse(n, b.where(), fmt.Errorf("the project has more than %d values, anchors written out", maxNodes), "split it into several projects; check that anchors do not multiply each other")
		return out
	case depth > maxDepth:
		b.refuse(n, b.where(), fmt.Errorf("it is nested more than %d levels deep", maxDepth), "")
		return out
	case b.nodes%4096 == 0 && b.ctx.Err() != nil:
		b.failed = true
		return out
	}
	switch n.Kind {
	case yaml.AliasNode:
		return b.alias(n, depth)
	case yaml.SequenceNode:
		b.sequence(n, out, depth)
	case yaml.MappingNode:
		b.mapping(n, out, depth)
	default:
		b.scalar(n, out)
	}
	return out
}

// where names the current path in messages.
func (b *builder) where() string {
	if len(b.path) == 0 {
		return "compose file"
	}
	return strings.Join(b.path, ".")
}

// alias writes out what an alias stands for.
func (b *builder) alias(n *yaml.Node, depth int) *node {
	if b.active[n.Alias] {
		b.refuse(n, b.where(), fmt.Errorf("the anchor %q contains itself", n.Value), "")
		return &node{}
	}
	b.active[n.Alias] = true
	defer delete(b.active, n.Alias)
	return b.build(n.Alias, depth+1)
}

func (b *builder) sequence(n *yaml.Node, out *node, depth int) {
	out.kind = listKind
	out.items = make([]*node, 0, len(n.Content))
	for i, item := range n.Content {
		b.path = append(b.path, strconv.Itoa(i))
		if !b.reset(item) {
			out.items = append(out.items, b.build(item, depth+1))
		}
		b.path = b.path[:len(b.path)-1]
	}
}

func (b *builder) mapping(n *yaml.Node, out *node, depth int) {
	out.kind = mapKind
	out.fields = make(map[string]*node, len(n.Content)/2)
	lines := make(map[string]int, len(n.Content)/2)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content) && !b.failed; i += 2 {
		keyNode, value := n.Content[i], n.Content[i+1]
		if keyNode.Kind == yaml.AliasNode {
			keyNode = keyNode.Alias
		}
		key := keyNode.Value
		if isMergeKey(keyNode) {
			merged = append(merged, value)
			continue
		}
		if !b.acceptKey(n.Content[i], keyNode, lines) {
			continue
		}
		b.path = append(b.path, key)
		if !b.reset(value) {
			child := b.build(value, depth+1)
			child.pos = translate.Position{File: b.file, Line: n.Content[i].Line}
			out.fields[key] = child
		}
		b.path = b.path[:len(b.path)-1]
	}
	for _, m := range merged {
		b.merge(m, out, lines, depth)
	}
}

// isMergeKey reports whether a key is the merge key `<<`, unquoted.
func isMergeKey(key *yaml.Node) bool {
	return key.Value == "<<" && key.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0
}

// acceptKey checks a key of a mapping: text, not too long, not there already.
func (b *builder) acceptKey(at, key *yaml.Node, lines map[string]int) bool {
	pos := translate.Position{File: b.file, Line: at.Line}
	switch {
	case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
		b.fail(pos, b.where(), fmt.Errorf("the key %q is not text", key.Value), "put it in quotes")
	case len(key.Value) > maxName:
		b.fail(pos, b.where(), fmt.Errorf("the name %q... is %d characters long, more than %d", key.Value[:20], len(key.Value), maxName), "shorten it")
	case lines[key.Value] > 0:
		b.fail(pos, b.where(), fmt.Errorf("the key %q is there twice, first in line %d", key.Value, lines[key.Value]), "remove one of them")
	default:
		lines[key.Value] = at.Line
		return true
	}
	return false
}

// merge adds the entries that a merge key brings. Keys of the mapping itself,
// and those of an earlier merged mapping, win.
func (b *builder) merge(value *yaml.Node, into *node, lines map[string]int, depth int) {
	target := value
	if target.Kind == yaml.AliasNode {
		target = target.Alias
	}
	if target.Kind == yaml.SequenceNode {
		for _, item := range target.Content {
			b.merge(item, into, lines, depth+1)
		}
		return
	}
	if target.Kind != yaml.MappingNode {
		b.refuse(value, b.where(), errors.New("the merge key << needs a mapping, or a list of mappings"), "")
		return
	}
	from := b.build(value, depth+1)
	for key, child := range from.fields {
		if _, own := lines[key]; own {
			continue
		}
		if _, earlier := into.fields[key]; !earlier {
			into.fields[key] = child
		}
	}
}

// reset notes the tags !reset and !override, and reports whether the value
// itself does not count.
func (b *builder) reset(n *yaml.Node) bool {
	target := n
	if target.Kind == yaml.AliasNode {
		target = target.Alias
	}
	switch target.Tag {
	case "!reset":
		b.resets = append(b.resets, append([]string(nil), b.path...))
		return true
	case "!override":
		b.resets = append(b.resets, append([]string(nil), b.path...))
	}
	return false
}

// scalar gives out the value of a scalar.
func (b *builder) scalar(n *yaml.Node, out *node) {
	if n.Tag == "!override" {
		plain := *n
		plain.Tag = ""
		n = &plain
	}
	out.kind = scalarKind
	switch n.ShortTag() {
	case "!!str":
		out.value = n.Value
	case "!!null":
		out.kind = nullKind
	default:
		var value any
		if err := n.Decode(&value); err != nil {
			b.fail(out.pos, b.where(), err, "")
			out.broken = true
			return
		}
		if value == nil {
			out.kind = nullKind
			return
		}
		out.value = value
	}
}
