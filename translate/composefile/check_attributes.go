package composefile

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// checkAttributes looks for what the schema cannot say of single attributes.
func (r *reader) checkAttributes(n *node, rule *rule, p *attribute) {
	if rule == nil || n.broken {
		return
	}
	if rule.check != nil && n.kind != nullKind {
		rule.check(r, n, p)
	}
	for key, value := range n.fields {
		r.checkAttributes(value, rule.child(key), p.field(key))
	}
	if below := rule.child("*"); below != nil {
		for i, item := range n.items {
			r.checkAttributes(item, below, p.item(i))
		}
	}
}

// checkVolume: an external volume is only named.
func checkVolume(r *reader, n *node, p *attribute) {
	if external, _ := n.field("external").boolean(); !external {
		return
	}
	for _, key := range n.keys() {
		if key != "name" && key != "external" && !strings.HasPrefix(key, "x-") {
			r.failAt(n.field(key), p.field(key), errors.New("an external volume cannot have it"), "remove it, or remove `external`")
		}
	}
}

// checkOneOf: a config or secret has exactly one source.
func checkOneOf(sources ...string) func(*reader, *node, *attribute) {
	return func(r *reader, n *node, p *attribute) {
		var set []string
		for _, key := range sources {
			if f := n.field(key); f != nil && !f.derived {
				set = append(set, key)
			}
		}
		all := strings.Join(sources, ", ")
		switch {
		case len(set) > 1:
			r.failAt(n, p, fmt.Errorf("it has %s, and may have only one of %s", strings.Join(set, " and "), all), "remove one of them")
		case len(set) == 0 && n.field("driver") == nil && n.field("external") == nil:
			r.failAt(n, p, fmt.Errorf("it needs one of %s", all), "")
		}
	}
}

func checkHostIP(r *reader, n *node, p *attribute) {
	if ip := n.field("host_ip"); ip != nil && net.ParseIP(ip.text()) == nil {
		r.failAt(ip, p.field("host_ip"), fmt.Errorf("%q is not an IP address", ip.text()), "")
	}
}

func checkDevices(r *reader, n *node, p *attribute) {
	if n.field("count") != nil && n.field("device_ids") != nil {
		r.failAt(n, p, errors.New("it has count and device_ids"), "keep one of them")
	}
}

func checkNotBlank(r *reader, n *node, p *attribute) {
	if n.isText() && n.text() == "" {
		r.failAt(n, p, errors.New("it is empty"), "")
	}
}

// boolean is the value of a boolean.
func (n *node) boolean() (value, ok bool) {
	if n == nil {
		return false, false
	}
	value, ok = n.value.(bool)
	return value, ok
}
