package composefile

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"
)

// A canon turns short forms into long ones. What the schema has refused is
// left as it is.
type canon struct{ *reader }

// canonical writes out the short forms below n.
func (c *canon) canonical(n *node, rule *rule, p *attribute) *node {
	if rule == nil || n.broken {
		return n
	}
	if rule.canonical != nil {
		n = rule.canonical(c, n, p)
	}
	switch n.kind {
	case mapKind:
		for key, value := range n.fields {
			n.fields[key] = c.canonical(value, rule.child(key), p.field(key))
		}
	case listKind:
		below := rule.child("*")
		if below == nil {
			return n
		}
		for i, item := range n.items {
			n.items[i] = c.canonical(item, below, p.item(i))
		}
	}
	return n
}

// entry makes a mapping that stands where n does, of keys and values in turn.
// Values that are zero are left out.
func entry(n *node, pairs ...any) *node {
	m := mapNode(n.pos)
	for i := 0; i < len(pairs); i += 2 {
		switch pairs[i+1] {
		case "", false, uint32(0):
			continue
		}
		m.fields[pairs[i].(string)] = textNode(pairs[i+1], n.pos)
	}
	return m
}

func canonList(_ *canon, n *node, _ *attribute) *node {
	if n.isText() {
		return &node{kind: listKind, pos: n.pos, items: []*node{n}}
	}
	return n
}

// canonDNS makes a list and drops what is empty: `dns: ${DNS}` may be.
func canonDNS(c *canon, n *node, p *attribute) *node {
	n = canonList(c, n, p)
	kept := n.items[:0:0]
	for _, item := range n.items {
		if item.kind != nullKind && item.value != "" {
			kept = append(kept, item)
		}
	}
	n.items = kept
	return n
}

func canonText(_ *canon, n *node, _ *attribute) *node {
	if n.kind == scalarKind && !n.isText() {
		n.value = fmt.Sprint(n.value)
	}
	return n
}

func canonSet(_ *canon, n *node, _ *attribute) *node {
	if n.kind != listKind {
		return n
	}
	return asMapping(n, nil)
}

func canonKeyValue(c *canon, n *node, p *attribute) *node {
	if n.kind != listKind {
		return n
	}
	m := mapNode(n.pos)
	for i, item := range n.items {
		key, value, ok := strings.Cut(item.text(), "=")
		if !ok {
			c.failAt(item, p.item(i), fmt.Errorf("%s is not NAME=value", item.describe()), "")
			continue
		}
		m.fields[key] = textNode(value, item.pos)
	}
	return m
}

func canonBuild(_ *canon, n *node, _ *attribute) *node {
	if n.isText() {
		return entry(n, "context", n.value)
	}
	return n
}

func canonSSH(c *canon, n *node, p *attribute) *node {
	if n.kind != listKind {
		return n
	}
	m := mapNode(n.pos)
	for i, item := range n.items {
		id, key, ok := strings.Cut(item.text(), "=")
		switch {
		case ok:
			m.fields[id] = textNode(key, item.pos)
		case id == "default":
			m.fields[id] = &node{pos: item.pos}
		default:
			c.failAt(item, p.item(i), fmt.Errorf("the ssh key %q has no file", id), "write ID=PATH, or `default` for the agent")
		}
	}
	return m
}

func canonDependsOn(_ *canon, n *node, _ *attribute) *node {
	n = asMapping(n, startedDependency)
	for _, d := range n.fields {
		if d.kind != mapKind {
			continue
		}
		if d.field("condition") == nil {
			d.fields["condition"] = textNode("service_started", d.pos)
		}
		if d.field("required") == nil {
			d.fields["required"] = textNode(true, d.pos)
		}
	}
	return n
}

func canonEnvFile(c *canon, n *node, p *attribute) *node {
	n = canonList(c, n, p)
	for i, item := range n.items {
		if item.isText() {
			n.items[i] = entry(item, "path", item.value, "required", true)
		} else if item.kind == mapKind && item.field("required") == nil {
			item.fields["required"] = textNode(true, item.pos)
		}
	}
	return n
}

func canonGPUs(_ *canon, n *node, _ *attribute) *node {
	if n.isText() {
		return &node{kind: listKind, pos: n.pos, items: []*node{entry(n, "count", "all")}}
	}
	return n
}

func canonFileMount(_ *canon, n *node, _ *attribute) *node {
	if n.isText() {
		return entry(n, "source", n.value)
	}
	return n
}

func canonSchedule(_ *canon, n *node, _ *attribute) *node {
	if n.isText() {
		return entry(n, "cron", n.value)
	}
	return n
}

func canonUlimit(c *canon, n *node, p *attribute) *node {
	if n.isText() {
		value, err := toInt(n.text())
		if err != nil {
			c.failAt(n, p, fmt.Errorf("%q %w", n.value, err), "")
			return n
		}
		n.value = value
	}
	return n
}

func canonDevice(c *canon, n *node, p *attribute) *node {
	if !n.isText() {
		return n
	}
	parts := strings.Split(n.text(), ":")
	if len(parts) > 3 {
		c.failAt(n, p, fmt.Errorf("%q has more than three parts", n.value), "use the long form: source, target, permissions")
		return n
	}
	source, target, permissions := parts[0], "", "rwm"
	if len(parts) > 1 {
		target = parts[1]
	}
	if len(parts) > 2 {
		permissions = parts[2]
	}
	if target == "" {
		target = source
	}
	m := mapNode(n.pos)
	m.fields["source"] = textNode(source, n.pos)
	m.fields["target"] = textNode(target, n.pos)
	m.fields["permissions"] = textNode(permissions, n.pos)
	return m
}

// parseVolume parses the short form of a mount.
func parseVolume(text string) (volume types.ServiceVolumeConfig, err error) {
	volume, err = format.ParseVolume(text)
	if volume.Target != "" {
		volume.Target = path.Clean(volume.Target)
	}
	return volume, err
}

func canonVolume(c *canon, n *node, p *attribute) *node {
	if !n.isText() {
		return n
	}
	v, err := parseVolume(n.text())
	if err != nil {
		c.failAt(n, p, err, "write [SOURCE:]TARGET[:ro], or use the long form")
		return n
	}
	m := entry(n, "type", v.Type, "source", v.Source, "target", v.Target, "read_only", v.ReadOnly, "consistency", v.Consistency)
	if v.Bind != nil {
		m.fields["bind"] = entry(n, "selinux", v.Bind.SELinux, "propagation", v.Bind.Propagation, "create_host_path", bool(v.Bind.CreateHostPath))
	}
	if v.Volume != nil {
		m.fields["volume"] = entry(n, "nocopy", v.Volume.NoCopy)
	}
	return m
}

// canonPorts writes out ports and their ranges.
func canonPorts(c *canon, n *node, p *attribute) *node {
	if n.kind != listKind {
		return n
	}
	ports := make([]*node, 0, len(n.items))
	for i, item := range n.items {
		if item.kind != scalarKind {
			ports = append(ports, item)
			continue
		}
		parsed, err := types.ParsePortConfig(fmt.Sprint(item.value))
		if err != nil {
			c.failAt(item, p.item(i), err, "write [[IP:]HOST:]CONTAINER[/PROTOCOL], in quotes")
			continue
		}
		if c.nodes += 6 * len(parsed); c.nodes > maxNodes {
			c.failAt(item, p.item(i), errors.New("the project publishes too many ports"), "")
			break
		}
		for _, port := range parsed {
			ports = append(ports, entry(item, "mode", port.Mode, "host_ip", port.HostIP, "target", port.Target,
				"published", port.Published, "protocol", port.Protocol))
		}
	}
	n.items = ports
	return n
}

// canonExternal rewrites the old `external: {name: ...}`.
func canonExternal(c *canon, n *node, p *attribute) *node {
	old := n.field("external")
	if old == nil || old.kind != mapKind {
		return n
	}
	n.fields["external"] = textNode(true, old.pos)
	name := old.field("name")
	if name == nil {
		return n
	}
	c.warn(old.pos, p.String()+": external.name is deprecated; write `name` and `external: true`")
	if given := n.field("name"); given != nil && given.text() != name.text() {
		c.failAt(old, p.field("external"), errors.New("it gives another name than `name`"), "keep only `name`")
		return n
	}
	n.fields["name"] = name
	return n
}

// The defaults that the long forms have.

// complete sets default values below n.
func complete(n *node, rule *rule) {
	if rule == nil {
		return
	}
	if rule.complete != nil && n.kind == mapKind {
		rule.complete(n)
	}
	for key, value := range n.fields {
		complete(value, rule.child(key))
	}
	if below := rule.child("*"); below != nil {
		for _, item := range n.items {
			complete(item, below)
		}
	}
}

// orElse sets a key that is not set.
func orElse(n *node, key string, value any) {
	if n.field(key) == nil {
		n.fields[key] = textNode(value, n.pos)
	}
}

func completeBuild(n *node)  { orElse(n, "context", ".") }
func completeBind(n *node)   { orElse(n, "create_host_path", true) }
func completeSecret(n *node) { orElse(n, "target", "/run/secrets/"+n.field("source").text()) }

func completePort(n *node) {
	orElse(n, "protocol", "tcp")
	orElse(n, "mode", "ingress")
}

func completeDevices(n *node) {
	if n.field("device_ids") == nil {
		orElse(n, "count", "all")
	}
}
