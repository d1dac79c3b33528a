package composefile

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	composeschema "github.com/compose-spec/compose-go/v2/schema"

	"github.com/berth-dev/berth/translate"
)

// A schema is the part of JSON Schema that the compose specification uses.
type schema struct {
	Ref                   string             `json:"$ref"`
	Defs                  map[string]*schema `json:"$defs"`
	Type                  typeList           `json:"type"`
	Properties            map[string]*schema `json:"properties"`
	PatternProperties     map[string]*schema `json:"patternProperties"`
	AdditionalProperties  *orFalse           `json:"additionalProperties"`
	UnevaluatedProperties *orFalse           `json:"unevaluatedProperties"`
	Items                 *schema            `json:"items"`
	OneOf                 []*schema          `json:"oneOf"`
	AnyOf                 []*schema          `json:"anyOf"`
	AllOf                 []*schema          `json:"allOf"`
	Enum                  []any              `json:"enum"`
	Required              []string           `json:"required"`
	Minimum               *float64           `json:"minimum"`
	Maximum               *float64           `json:"maximum"`
	Pattern               string             `json:"pattern"`
	UniqueItems           bool               `json:"uniqueItems"`

	pattern  *regexp.Regexp
	patterns []keyPattern
	closed   bool // properties that are not known are errors

	// What this schema and those it includes know.
	known         map[string]bool
	knownPatterns []keyPattern
}

// A keyPattern is the schema of the properties whose names match.
type keyPattern struct {
	name  *regexp.Regexp
	value *schema
}

// typeList is one type or several.
type typeList []string

func (t *typeList) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = typeList{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(t))
}

// orFalse is a schema, or false for "nothing".
type orFalse struct {
	never bool
	value *schema
}

func (o *orFalse) UnmarshalJSON(data []byte) error {
	var allowed bool
	if json.Unmarshal(data, &allowed) == nil {
		o.never = !allowed
		return nil
	}
	return json.Unmarshal(data, &o.value)
}

// composeSchema is the schema that compose-go embeds. It never changes once
// read; that it can be read is tested.
var composeSchema = sync.OnceValues(func() (*schema, error) {
	var root schema
	if err := json.Unmarshal([]byte(composeschema.Schema), &root); err != nil {
		return nil, err
	}
	return &root, root.link(root.Defs)
})

// link replaces references by what they name, and prepares patterns.
func (s *schema) link(defs map[string]*schema) (err error) {
	if s.known != nil {
		return nil
	}
	s.known = map[string]bool{}
	if s.Pattern != "" {
		if s.pattern, err = regexp.Compile(s.Pattern); err != nil {
			return err
		}
	}
	for _, expression := range slices.Sorted(maps.Keys(s.PatternProperties)) {
		name, err := regexp.Compile(expression)
		if err != nil {
			return err
		}
		s.patterns = append(s.patterns, keyPattern{name, s.PatternProperties[expression]})
	}
	s.closed = s.AdditionalProperties != nil && s.AdditionalProperties.never || s.UnevaluatedProperties != nil && s.UnevaluatedProperties.never
	if s.Ref != "" {
		target := defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
		if target == nil {
			return fmt.Errorf("the schema lacks %s", s.Ref)
		}
		s.AllOf = append(s.AllOf, target)
	}
	for _, child := range s.children() {
		if err := child.link(defs); err != nil {
			return err
		}
	}
	for name := range s.Properties {
		s.known[name] = true
	}
	for _, part := range s.AllOf {
		maps.Copy(s.known, part.known)
		s.knownPatterns = append(s.knownPatterns, part.knownPatterns...)
	}
	s.knownPatterns = append(s.knownPatterns, s.patterns...)
	return nil
}

// children lists the schemas that s is made of.
func (s *schema) children() []*schema {
	all := slices.Concat(s.AllOf, s.OneOf, s.AnyOf, slices.Collect(maps.Values(s.Defs)),
		slices.Collect(maps.Values(s.Properties)), slices.Collect(maps.Values(s.PatternProperties)))
	for _, x := range []*orFalse{s.AdditionalProperties, s.UnevaluatedProperties} {
		if x != nil && x.value != nil {
			all = append(all, x.value)
		}
	}
	if s.Items != nil {
		all = append(all, s.Items)
	}
	return all
}

// A validation checks a tree against the schema. Parts of a project, before
// they are merged, need not be complete.
type validation struct {
	complete bool // what is required must be there, lists have no duplicates
}

// check returns what is wrong with n.
func (v validation) check(n *node, s *schema, p *attribute) translate.Errors {
	if n.broken {
		return nil
	}
	if len(s.Type) > 0 && !slices.ContainsFunc(s.Type, n.is) {
		return v.wrong(n, p, fmt.Errorf("it must be %s, not %s", typeNames(s.Type), n.describe()), "")
	}
	var errs translate.Errors
	for _, part := range s.AllOf {
		errs = append(errs, v.check(n, part, p)...)
	}
	if len(s.OneOf) > 0 {
		errs = append(errs, v.any(n, s.OneOf, p)...)
	}
	if len(s.AnyOf) > 0 {
		errs = append(errs, v.any(n, s.AnyOf, p)...)
	}
	switch n.kind {
	case mapKind:
		errs = append(errs, v.mapping(n, s, p)...)
	case listKind:
		errs = append(errs, v.list(n, s, p)...)
	case scalarKind:
		errs = append(errs, v.scalar(n, s, p)...)
	}
	return errs
}

// any checks n against alternatives: one must fit. When none does, the errors
// are those of the alternative that n comes closest to.
func (v validation) any(n *node, alternatives []*schema, p *attribute) translate.Errors {
	var best translate.Errors
	var fits []*schema
	for _, s := range alternatives {
		if !s.accepts(n) {
			continue
		}
		fits = append(fits, s)
		errs := v.check(n, s, p)
		if len(errs) == 0 {
			return nil
		}
		if best == nil || len(errs) < len(best) {
			best = errs
		}
	}
	if len(fits) == 0 {
		var types typeList
		for _, s := range alternatives {
			types = append(types, s.types()...)
		}
		return v.wrong(n, p, fmt.Errorf("it must be %s, not %s", typeNames(types), n.describe()), "")
	}
	return best
}

// types lists the types that s allows.
func (s *schema) types() typeList {
	types := slices.Clone(s.Type)
	for _, parts := range [][]*schema{s.AllOf, s.OneOf, s.AnyOf} {
		for _, part := range parts {
			types = append(types, part.types()...)
		}
	}
	return types
}

// accepts reports whether the type of n is one that s allows.
func (s *schema) accepts(n *node) bool {
	types := s.types()
	return len(types) == 0 || slices.ContainsFunc(types, n.is)
}

func (v validation) mapping(n *node, s *schema, p *attribute) translate.Errors {
	var errs translate.Errors
	for _, key := range n.keys() {
		value, at := n.fields[key], p.field(key)
		below, found := s.Properties[key]
		if !found {
			for _, pattern := range s.patterns {
				if pattern.name.MatchString(key) {
					below, found = pattern.value, true
					break
				}
			}
		}
		switch {
		case found:
			errs = append(errs, v.check(value, below, at)...)
		case s.AdditionalProperties != nil && s.AdditionalProperties.value != nil:
			errs = append(errs, v.check(value, s.AdditionalProperties.value, at)...)
		case s.closed && !s.knows(key):
			errs = append(errs, unknownKey(value, key, s, at))
		}
	}
	if v.complete {
		for _, key := range s.Required {
			if n.field(key) == nil {
				errs = append(errs, v.wrong(n, p, fmt.Errorf("it needs %q", key), "")...)
			}
		}
	}
	return errs
}

// knows reports whether a property is one of the schema's.
func (s *schema) knows(key string) bool {
	return s.known[key] || slices.ContainsFunc(s.knownPatterns, func(p keyPattern) bool { return p.name.MatchString(key) })
}

// unknownKey says that a key is not one of s, and what the user may have meant.
func unknownKey(n *node, key string, s *schema, p *attribute) *translate.Error {
	e := &translate.Error{Position: n.pos, What: p.String()}
	if len(s.known) == 0 {
		e.Err, e.Cure = fmt.Errorf("%q is not a valid name", key), "use letters, digits and the characters . _ -"
		return e
	}
	e.Err = fmt.Errorf("compose has no attribute %q here", key)
	known := slices.Sorted(maps.Keys(s.known))
	if meant := translate.Nearest(key, known); meant != "" {
		e.Cure = fmt.Sprintf("did you mean %q?", meant)
	} else if len(known) <= 12 {
		e.Cure = "known: " + strings.Join(known, ", ")
	} else {
		e.Cure = "remove it, or start its name with x- if it is for another program"
	}
	return e
}

func (v validation) list(n *node, s *schema, p *attribute) translate.Errors {
	var errs translate.Errors
	seen := map[string]int{}
	for i, item := range n.items {
		if s.Items != nil {
			errs = append(errs, v.check(item, s.Items, p.item(i))...)
		}
		if !s.UniqueItems || !v.complete {
			continue
		}
		f := item.fingerprint()
		if first, ok := seen[f]; ok {
			errs = append(errs, v.wrong(item, p.item(i), fmt.Errorf("it is the same as item %d", first), "remove one of them")...)
		}
		seen[f] = i
	}
	return errs
}

func (v validation) scalar(n *node, s *schema, p *attribute) translate.Errors {
	if text, ok := n.value.(string); ok {
		switch {
		case s.pattern != nil && !s.pattern.MatchString(text):
			return v.wrong(n, p, fmt.Errorf("%q does not have the form %s", text, s.Pattern), "")
		case len(s.Enum) > 0 && !slices.Contains(s.Enum, any(text)):
			return v.wrong(n, p, fmt.Errorf("%q is not a value it can have", text), choices(text, s.Enum))
		}
		return nil
	}
	if number, ok := n.number(); ok {
		switch {
		case s.Minimum != nil && number < *s.Minimum:
			return v.wrong(n, p, fmt.Errorf("%v is less than %v", number, *s.Minimum), "")
		case s.Maximum != nil && number > *s.Maximum:
			return v.wrong(n, p, fmt.Errorf("%v is more than %v", number, *s.Maximum), "")
		}
	}
	return nil
}

func choices(text string, enum []any) string {
	var known []string
	for _, e := range enum {
		known = append(known, fmt.Sprint(e))
	}
	if meant := translate.Nearest(text, known); meant != "" {
		return fmt.Sprintf("did you mean %q?", meant)
	}
	return "use one of " + strings.Join(known, ", ")
}

func (v validation) wrong(n *node, p *attribute, err error, cure string) translate.Errors {
	what := p.String()
	if what == "" {
		what = "compose file"
	}
	return translate.Errors{{Position: n.pos, What: what, Err: err, Cure: cure}}
}

// number is the value of a number.
func (n *node) number() (float64, bool) {
	switch x := n.value.(type) {
	case int:
		return float64(x), true
	case int64:
		return float64(x), true
	case uint64:
		return float64(x), true
	case uint32:
		return float64(x), true
	case float32:
		return float64(x), true
	case float64:
		return x, true
	}
	return 0, false
}

// is reports whether n has a type of JSON Schema.
func (n *node) is(name string) bool {
	switch name {
	case "object":
		return n.kind == mapKind
	case "array":
		return n.kind == listKind
	case "null":
		return n.kind == nullKind
	case "boolean":
		_, ok := n.value.(bool)
		return ok
	case "string":
		if _, date := n.value.(time.Time); date {
			return true
		}
		return n.isText()
	case "number":
		_, ok := n.number()
		return ok
	case "integer":
		number, ok := n.number()
		return ok && number == math.Trunc(number)
	}
	return false
}

// typeNames lists types in the words of YAML.
func typeNames(types typeList) string {
	words := map[string]string{"object": "a mapping", "array": "a list", "string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false", "null": "empty"}
	var names []string
	for _, t := range types {
		if word := words[t]; !slices.Contains(names, word) {
			names = append(names, word)
		}
	}
	if i := slices.Index(names, "empty"); i >= 0 {
		names = append(slices.Delete(names, i, i+1), "empty")
	}
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
