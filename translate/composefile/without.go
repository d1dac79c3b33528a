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

// StandInImage is the image of a service whose own is left out.
const StandInImage = "berth.invalid/left-out"

// leaveOut takes the attribute at a path out of a model and reports whether it
// was there. What is left is a project still: what refers to a volume, network,
// config, secret or model that is gone goes with it, and a service without
// image and build section gets a stand-in.
func leaveOut(model *node, path string) bool {
	section, name, _ := strings.Cut(path, ".")
	_, whole := model.field(section).entries()[name]
	if !drop(model, path, composeRules()) {
		return false
	}
	for _, workloads := range []string{"services", "jobs"} {
		for _, w := range model.field(workloads).entries() {
			if whole {
				dropReferences(w, section, name)
				for _, hook := range w.field("pre_start").list() {
					dropReferences(hook, section, name)
				}
				dropReferences(w.field("build"), section, name)
			}
			if w.kind == mapKind && w.field("image") == nil && w.field("build") == nil && w.field("provider") == nil {
				w.fields["image"] = textNode(StandInImage, w.pos)
			}
		}
	}
	return true
}

// dropReferences removes from a container what names a resource.
func dropReferences(container *node, section, name string) {
	list := container.field(section)
	switch {
	case list == nil:
		return
	case list.kind == mapKind: // networks, models
		delete(list.fields, name)
	case list.kind == listKind:
		list.items = slices.DeleteFunc(list.items, func(item *node) bool {
			kind := item.field("type").text()
			return item.field("source").text() == name && (kind == "" || kind == "volume")
		})
	}
	if len(list.fields)+len(list.items) == 0 {
		delete(container.fields, section)
	}
}
