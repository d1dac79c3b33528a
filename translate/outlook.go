package translate

import (
	"fmt"
	"strings"
)

// Outlook returns what would become of an attribute that a project does not
// set, as far as its value makes no difference. Section is "services",
// "volumes" and so on, attribute the rest of the path behind the name:
// "deploy.replicas". The entry has no status when each part of the attribute has
// its own. An attribute that compose does not have is an *Error that names the
// nearest ones.
func Outlook(section, attribute string, kind TargetKind) (Entry, error) {
	trees := newKeyTrees()
	node := map[string]*keyTree{
		"services": trees.service, "jobs": trees.job, "networks": trees.network, "volumes": trees.volume,
		"secrets": trees.secret, "configs": trees.config, "models": trees.model,
	}[section]
	if node == nil {
		return Entry{}, &Error{What: section, Err: fmt.Errorf("compose has no section %q", section), Cure: "name a service, or volumes.NAME, networks.NAME, secrets.NAME, configs.NAME"}
	}
	for _, segment := range segments(attribute) {
		next := node.child(segment)
		if next == nil {
			known := sortedKeys(node.children)
			return Entry{}, &Error{What: attribute, Err: fmt.Errorf("compose has no attribute %q there", segment), Cure: Suggest(segment, known)}
		}
		node = next
		if node.key != nil && !node.key.deep {
			break
		}
	}
	e := Entry{Path: section + ".*." + strings.TrimPrefix(attribute, ".")}
	if node.key == nil || node.key.silent {
		return e, nil
	}
	v := node.key.verdict(kind)
	e.Status, e.Done, e.Do = v.status, v.done, v.do
	return e, nil
}
