package composefile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/translate"
)

// A node is a value of a compose file that knows where it stands. Anchors,
// merge keys and tags are resolved: what they stood for is a copy, so that a
// node belongs to one place of one tree and may be changed.
type node struct {
	kind    kind
	broken  bool               // an error about it has been reported; further checks pass it over
	derived bool               // not written by the user: made of another attribute
	pos     translate.Position // of the key for values of mappings, of the value itself for items of lists
	value   any                // of scalars: string, int, int64, uint64, float64, bool, time.Time
	items   []*node            // of lists
	fields  map[string]*node   // of mappings
}

type kind uint8

const (
	nullKind kind = iota
	scalarKind
	listKind
	mapKind
)

// textNode makes a scalar.
func textNode(value any, pos translate.Position) *node {
	return &node{kind: scalarKind, value: value, pos: pos}
}

// mapNode makes a mapping.
func mapNode(pos translate.Position) *node {
	return &node{kind: mapKind, fields: map[string]*node{}, pos: pos}
}

// field returns the value of a key of a mapping, nil when n is none or has no
// such key.
func (n *node) field(key string) *node {
	if n == nil {
		return nil
	}
	return n.fields[key]
}

// entries returns the fields of a mapping, nil for everything else.
func (n *node) entries() map[string]*node {
	if n == nil {
		return nil
	}
	return n.fields
}

// list returns the items of a list, nil for everything else.
func (n *node) list() []*node {
	if n == nil {
		return nil
	}
	return n.items
}

// text returns the value of a string, "" for everything else.
func (n *node) text() string {
	if n == nil {
		return ""
	}
	s, _ := n.value.(string)
	return s
}

// isText reports whether n is a string.
func (n *node) isText() bool {
	if n == nil || n.kind != scalarKind {
		return false
	}
	_, ok := n.value.(string)
	return ok
}

// keys lists the keys of a mapping, sorted.
func (n *node) keys() []string {
	keys := make([]string, 0, len(n.fields))
	for key := range n.fields {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// clone copies n and everything below it.
func (n *node) clone() *node {
	if n == nil {
		return nil
	}
	c := *n
	if n.items != nil {
		c.items = make([]*node, len(n.items))
		for i, item := range n.items {
			c.items[i] = item.clone()
		}
	}
	if n.fields != nil {
		c.fields = make(map[string]*node, len(n.fields))
		for key, value := range n.fields {
			c.fields[key] = value.clone()
		}
	}
	return &c
}

// plain turns n into the maps, slices and scalars that compose-go works on.
// Extensions (x-...) of attributes are kept apart, as it expects them.
func (n *node) plain(rule *rule) any {
	switch n.kind {
	case scalarKind:
		return n.value
	case listKind:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.plain(rule.child("*"))
		}
		return list
	case mapKind:
		m := make(map[string]any, len(n.fields))
		extensions := map[string]any{}
		for key, value := range n.fields {
			if strings.HasPrefix(key, "x-") && (rule == nil || !rule.named) {
				extensions[key] = value.plain(verbatim())
			} else {
				m[key] = value.plain(rule.child(key))
			}
		}
		if len(extensions) > 0 {
			m[extensionsKey] = extensions
		}
		return m
	}
	return nil
}

// verbatim is the rule of what is inside an extension: every key is the user's.
var verbatim = sync.OnceValue(func() *rule {
	r := &rule{named: true}
	r.below = map[string]*rule{"*": r}
	return r
})

// The keys under which compose-go looks for extensions and for the content of
// secrets that come from a variable.
const (
	extensionsKey = consts.Extensions
	secretContent = types.SecretConfigXValue
)

// size counts the nodes of a tree.
func (n *node) size() int {
	total := 1
	for _, item := range n.items {
		total += item.size()
	}
	for _, value := range n.fields {
		total += value.size()
	}
	return total
}

// fingerprint is a text that two nodes share exactly when they have the same
// value, wherever they stand.
func (n *node) fingerprint() string {
	var b strings.Builder
	n.writeFingerprint(&b)
	return b.String()
}

func (n *node) writeFingerprint(b *strings.Builder) {
	switch n.kind {
	case nullKind:
		b.WriteByte('~')
	case scalarKind:
		fmt.Fprintf(b, "%T", n.value)
		b.WriteString(strconv.Quote(fmt.Sprint(n.value)))
	case listKind:
		b.WriteByte('[')
		for _, item := range n.items {
			item.writeFingerprint(b)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	case mapKind:
		b.WriteByte('{')
		for _, key := range n.keys() {
			b.WriteString(strconv.Quote(key))
			n.fields[key].writeFingerprint(b)
			b.WriteByte(',')
		}
		b.WriteByte('}')
	}
}

// describe names what n is, for messages about wrong types.
func (n *node) describe() string {
	switch n.kind {
	case listKind:
		return "a list"
	case mapKind:
		return "a mapping"
	case nullKind:
		return "empty"
	}
	switch v := n.value.(type) {
	case string:
		if len(v) > 40 {
			v = v[:40] + "..."
		}
		return fmt.Sprintf("the text %q", v)
	case bool:
		return fmt.Sprintf("the boolean %v", v)
	case time.Time:
		return "a date"
	default:
		return fmt.Sprintf("the number %v", v)
	}
}

// An attribute is the path from the root of a tree to a node. Only messages
// make text of it.
type attribute struct {
	up    *attribute
	key   string
	index int // of a list item; -1 for a key
}

func (p *attribute) field(key string) *attribute { return &attribute{up: p, key: key, index: -1} }
func (p *attribute) item(i int) *attribute       { return &attribute{up: p, index: i} }

// String returns "services.web.ports[0]".
func (p *attribute) String() string {
	if p == nil {
		return ""
	}
	if p.index >= 0 {
		return p.up.String() + "[" + strconv.Itoa(p.index) + "]"
	}
	if up := p.up.String(); up != "" {
		return up + "." + p.key
	}
	return p.key
}
