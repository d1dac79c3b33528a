package composefile

import (
	"strconv"
	"strings"

	"github.com/berth-dev/berth/translate"
)

// positions maps every attribute path of a model to its place. Entries of
// lists of KEY=value are there by index and by key.
func positions(model *node) translate.Positions {
	all := make(translate.Positions, model.size())
	for key, value := range model.fields {
		addPositions(all, key, value, composeRules().child(key))
	}
	return all
}

func addPositions(all translate.Positions, at string, n *node, rule *rule) {
	if !n.derived && n.pos.File != "" {
		all[at] = n.pos
	}
	for key, value := range n.fields {
		addPositions(all, at+"."+key, value, rule.child(key))
	}
	for i, item := range n.items {
		addPositions(all, at+"["+strconv.Itoa(i)+"]", item, rule.child("*"))
		if rule != nil && rule.keyed && item.isText() {
			all[at+"."+keyOfEntry(item.text())] = item.pos
		}
	}
}

// keyOfEntry is the key of a "KEY=value" or "host:ip" entry.
func keyOfEntry(text string) string {
	key, _, ok := strings.Cut(text, "=")
	if !ok {
		key, _, _ = strings.Cut(text, ":")
	}
	return key
}

// place is the position of an attribute, or of what it is part of.
func (r *reader) place(attribute string) translate.Position {
	for attribute != "" {
		if pos, ok := r.places[attribute]; ok {
			return pos
		}
		attribute = attribute[:max(0, strings.LastIndexAny(attribute, ".["))]
	}
	return translate.Position{}
}
