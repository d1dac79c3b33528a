package export

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/berth-dev/berth/translate"
)

// Fragment writes, as YAML, what of the objects `with` is not in `without`:
// what an attribute becomes, when the two are translations with and without it.
// It is empty when there is no difference.
func Fragment(with, without []translate.Object) ([]byte, error) {
	type key struct{ kind, name string }
	others := map[key]map[string]any{}
	for _, o := range without {
		value, err := plain(o)
		if err != nil {
			return nil, err
		}
		others[key{o.GetObjectKind().GroupVersionKind().Kind, o.GetName()}] = value
	}
	var b bytes.Buffer
	for _, o := range with {
		value, err := plain(o)
		if err != nil {
			return nil, err
		}
		kind := o.GetObjectKind().GroupVersionKind().Kind
		var part any = value
		if other, ok := others[key{kind, o.GetName()}]; ok {
			if part = surplus(value, other); part == nil {
				continue
			}
		}
		fmt.Fprintf(&b, "# %s/%s\n", kind, o.GetName())
		writeYAML(&b, part, 0)
	}
	return b.Bytes(), nil
}

// surplus returns what a has and b has not, nil when that is nothing. Items of
// lists keep their name, so that one sees which they are.
func surplus(a, b any) any {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return a
		}
		rest := map[string]any{}
		for key, value := range a {
			if other, ok := b[key]; !ok {
				rest[key] = value
			} else if part := surplus(value, other); part != nil {
				rest[key] = part
			}
		}
		if len(rest) == 0 {
			return nil
		}
		return rest
	case []any:
		b, ok := b.([]any)
		if !ok {
			return a
		}
		return surplusItems(a, b)
	}
	return a
}

func surplusItems(a, b []any) any {
	var rest []any
	for i, item := range a {
		other, found := counterpart(item, i, b)
		if !found {
			rest = append(rest, item)
			continue
		}
		part := surplus(item, other)
		if part == nil {
			continue
		}
		if fields, ok := part.(map[string]any); ok {
			if name, named := item.(map[string]any)["name"]; named {
				fields["name"] = name
			}
		}
		rest = append(rest, part)
	}
	if len(rest) == 0 {
		return nil
	}
	return rest
}

// counterpart finds the item of the other list that is the same one: the one
// of the same name, an equal one, or without names the one in the same place.
func counterpart(item any, index int, others []any) (any, bool) {
	fields, _ := item.(map[string]any)
	name, named := fields["name"]
	for _, other := range others {
		if reflect.DeepEqual(item, other) {
			return other, true
		}
		if o, ok := other.(map[string]any); ok && named && o["name"] == name {
			return other, true
		}
	}
	if fields != nil && !named && index < len(others) {
		return others[index], true
	}
	return nil, false
}
