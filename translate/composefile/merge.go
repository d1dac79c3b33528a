package composefile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A merger puts the values of a later compose file over those of an earlier
// one, by the rules of compose. It takes both trees over.
type merger struct{ *reader }

// merge returns over on top of base.
func (m *merger) merge(base, over *node, rule *rule, p *attribute) *node {
	if rule != nil && rule.merge != nil {
		return rule.merge(m, base, over, rule, p)
	}
	switch {
	case over.kind == nullKind:
		return base
	case base.kind == nullKind || base.kind == scalarKind:
		return over
	case base.kind != over.kind:
		m.failAt(over, p, fmt.Errorf("%s cannot go over %s that %s:%d sets", over.describe(), base.describe(), base.pos.File, base.pos.Line),
			"write it in the same form, or tag it !override")
		return over
	case base.kind == mapKind:
		return m.mappings(base, over, rule, p)
	default:
		return appendNew(base, over)
	}
}

// mappings merges key by key. The result stands where the later file has it.
func (m *merger) mappings(base, over *node, rule *rule, p *attribute) *node {
	base.pos = over.pos
	for key, value := range over.fields {
		if old, ok := base.fields[key]; ok {
			value = m.merge(old, value, rule.child(key), p.field(key))
		}
		base.fields[key] = value
	}
	return base
}

// appendNew appends the items of over that base does not have.
func appendNew(base, over *node) *node {
	have := make(map[string]bool, len(base.items))
	for _, item := range base.items {
		have[item.fingerprint()] = true
	}
	merged := &node{kind: listKind, pos: over.pos, items: base.items}
	for _, item := range over.items {
		if f := item.fingerprint(); !have[f] {
			have[f] = true
			merged.items = append(merged.items, item)
		}
	}
	if len(over.items) == 0 {
		merged.pos = base.pos
	}
	return merged
}

// replace takes the later value.
func replace(_ *merger, _, over *node, _ *rule, _ *attribute) *node { return over }

// mergeLists appends, after making lists of mappings and single values.
func mergeLists(_ *merger, base, over *node, _ *rule, _ *attribute) *node {
	return appendNew(asList(base), asList(over))
}

// mergeKeyValues merges lists of KEY=value by key: the last entry of a key
// takes effect, in the place of the first.
func mergeKeyValues(_ *merger, base, over *node, _ *rule, _ *attribute) *node {
	b, o := asList(base), asList(over)
	merged := &node{kind: listKind, pos: over.pos, items: slices.Concat(b.items, o.items)}
	if len(o.items) == 0 {
		merged.pos = base.pos
	}
	lastWins(merged, keyOfPair)
	return merged
}

// mergeSets merges mappings that may be written as lists of keys.
func mergeSets(m *merger, base, over *node, rule *rule, p *attribute) *node {
	return m.mappings(asMapping(base, nil), asMapping(over, nil), rule, p)
}

// mergeDependsOn is mergeSets with compose's default condition.
func mergeDependsOn(m *merger, base, over *node, _ *rule, p *attribute) *node {
	return m.mappings(asMapping(base, startedDependency), asMapping(over, startedDependency), nil, p)
}

// startedDependency is what an entry of the short depends_on stands for.
func startedDependency(n *node) *node {
	d := mapNode(n.pos)
	d.fields["condition"] = textNode("service_started", n.pos)
	d.fields["required"] = textNode(true, n.pos)
	return d
}

// mergeBuild merges build sections, of which either may be just a context.
func mergeBuild(m *merger, base, over *node, rule *rule, p *attribute) *node {
	section := func(n *node) *node {
		if n.kind == mapKind {
			return n
		}
		b := mapNode(n.pos)
		if n.kind == scalarKind {
			b.fields["context"] = n
		}
		return b
	}
	return m.mappings(section(base), section(over), rule, p)
}

// mergeLogging merges the options of one driver; another driver replaces them.
func mergeLogging(m *merger, base, over *node, _ *rule, p *attribute) *node {
	if base.kind != mapKind || over.kind != mapKind {
		return m.merge(base, over, nil, p)
	}
	was, is := base.field("driver"), over.field("driver")
	if was == nil || is == nil || was.text() == is.text() {
		return m.mappings(base, over, nil, p)
	}
	return over
}

// mergeUlimit merges soft and hard limits; a single number replaces.
func mergeUlimit(m *merger, base, over *node, _ *rule, p *attribute) *node {
	if base.kind == mapKind && over.kind == mapKind {
		return m.mappings(base, over, nil, p)
	}
	return over
}

// mergeIPAM merges address pools of the same subnet.
func mergeIPAM(m *merger, base, over *node, _ *rule, p *attribute) *node {
	if base.kind != listKind || over.kind != listKind {
		return m.merge(base, over, nil, p)
	}
	subnet := func(n *node) string { return n.field("subnet").text() }
	merged := &node{kind: listKind, pos: over.pos}
	place := func(pool *node) {
		i := slices.IndexFunc(merged.items, func(n *node) bool { return subnet(n) == subnet(pool) })
		if i >= 0 {
			merged.items[i] = pool
			return
		}
		merged.items = append(merged.items, pool)
	}
	for _, old := range base.items {
		place(old)
	}
	for i, pool := range over.items {
		j := slices.IndexFunc(merged.items, func(n *node) bool { return subnet(n) == subnet(pool) })
		if j >= 0 && pool.kind == mapKind && merged.items[j].kind == mapKind {
			pool = m.mappings(merged.items[j], pool, nil, p.item(i))
		}
		place(pool)
	}
	return merged
}

// asList makes a list of KEY=value of a mapping, and a list of one of a value.
func asList(n *node) *node {
	list := &node{kind: listKind, pos: n.pos}
	switch n.kind {
	case listKind:
		return n
	case scalarKind:
		if n.isText() {
			list.items = []*node{n}
		}
	case mapKind:
		for key, value := range n.fields {
			switch value.kind {
			case nullKind:
				list.items = append(list.items, textNode(key, value.pos))
			case listKind:
				for _, item := range value.items {
					list.items = append(list.items, textNode(fmt.Sprintf("%s=%v", key, item.plain(nil)), item.pos))
				}
			default:
				list.items = append(list.items, textNode(fmt.Sprintf("%s=%v", key, value.plain(nil)), value.pos))
			}
		}
		slices.SortFunc(list.items, func(a, b *node) int { return cmp.Compare(a.text(), b.text()) })
	}
	return list
}

// asMapping makes a mapping of a list of keys, or of a single key.
func asMapping(n *node, value func(*node) *node) *node {
	if n.kind == mapKind {
		return n
	}
	m := mapNode(n.pos)
	items := n.items
	if n.kind == scalarKind {
		items = []*node{n}
	}
	for _, item := range items {
		if !item.isText() {
			continue // the schema check has reported it
		}
		entry := &node{pos: item.pos}
		if value != nil {
			entry = value(item)
		}
		m.fields[item.text()] = entry
	}
	return m
}

// unique drops from lists what a later item of the same key replaces.
func unique(n *node, rule *rule) {
	if rule == nil {
		return
	}
	switch n.kind {
	case mapKind:
		for key, value := range n.fields {
			unique(value, rule.child(key))
		}
	case listKind:
		if rule.key != nil {
			lastWins(n, rule.key)
		}
	}
}

// lastWins keeps one item a key: the last one, in the place of the first. An
// item whose key is "" stays.
func lastWins(list *node, key func(*node) string) {
	at := make(map[string]int, len(list.items))
	kept := list.items[:0:0]
	for _, item := range list.items {
		k := key(item)
		if i, ok := at[k]; ok && k != "" {
			kept[i] = item
			continue
		}
		at[k] = len(kept)
		kept = append(kept, item)
	}
	list.items = kept
}

// applyResets drops from n what !reset and !override of a later file name.
func applyResets(n *node, resets [][]string) {
	for _, reset := range resets {
		at := n
		for _, key := range reset[:len(reset)-1] {
			if at = at.field(key); at == nil {
				break
			}
		}
		if at != nil && at.kind == mapKind {
			delete(at.fields, reset[len(reset)-1])
		}
	}
}

// The keys of list items.

func keyOfPair(n *node) string {
	key, _, _ := strings.Cut(n.text(), "=")
	return key
}

func keyOfScalar(n *node) string {
	if n.kind != scalarKind {
		return ""
	}
	return fmt.Sprint(n.value)
}

func keyOfMount(dir string) func(*node) string {
	return func(n *node) string {
		if n.kind != mapKind {
			return dir + "/" + n.text()
		}
		if target := n.field("target").text(); target != "" {
			return target
		}
		return dir + "/" + n.field("source").text()
	}
}

func keyOfEnvFile(n *node) string {
	if n.kind == mapKind {
		return n.field("path").text()
	}
	return n.text()
}

func keyOfVolume(n *node) string {
	if n.kind == mapKind {
		return n.field("target").text()
	}
	volume, err := parseVolume(n.text())
	if err != nil {
		return ""
	}
	return volume.Target
}

func keyOfDevice(n *node) string {
	if n.kind == mapKind {
		return n.field("target").text()
	}
	parts := strings.Split(n.text(), ":")
	if len(parts) == 1 {
		return parts[0]
	}
	return parts[1]
}

func keyOfPort(n *node) string {
	if n.kind != mapKind {
		return keyOfScalar(n)
	}
	get := func(key, otherwise string) string {
		if f := n.field(key); f != nil && f.kind == scalarKind {
			return fmt.Sprint(f.value)
		}
		return otherwise
	}
	return get("host_ip", "0.0.0.0") + ":" + get("published", "") + ":" + get("target", "") + "/" + get("protocol", "tcp")
}
