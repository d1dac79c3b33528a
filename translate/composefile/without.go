package composefile

import (
	"slices"
	"strconv"
	"strings"
)

// drop removes the attribute at a path from a model, and reports whether it was
// there. Keys with dots in them are understood, and so are the entries of lists
// of KEY=value by their key.
func drop(n *node, path string, rule *rule) bool {
	if n == nil || path == "" {
		return false
	}
	switch n.kind {
	case mapKind:
		for end := 1; end <= len(path); end++ {
			if end < len(path) && path[end] != '.' && path[end] != '[' {
				continue
			}
			key := path[:end]
			child, ok := n.fields[key]
			if !ok {
				continue
			}
			if end == len(path) {
				delete(n.fields, key)
				return true
			}
			if drop(child, strings.TrimPrefix(path[end:], "."), rule.child(key)) {
				return true
			}
		}
	case listKind:
		return dropItem(n, path, rule)
	}
	return false
}

func dropItem(n *node, path string, rule *rule) bool {
	if rule != nil && rule.keyed {
		i := slices.IndexFunc(n.items, func(item *node) bool { return keyOfEntry(item.text()) == path })
		if i >= 0 {
			n.items = slices.Delete(n.items, i, i+1)
			return true
		}
	}
	number, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]")
	i, err := strconv.Atoi(number)
	if !ok || err != nil || i < 0 || i >= len(n.items) {
		return false
	}
	if rest == "" {
		n.items = slices.Delete(n.items, i, i+1)
		return true
	}
	return drop(n.items[i], strings.TrimPrefix(rest, "."), rule.child("*"))
}
