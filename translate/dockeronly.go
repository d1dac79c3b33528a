package translate

import (
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// dockerDNS is where containers on a network of Docker find its DNS server.
const dockerDNS = "127.0.0.11"

// reportDockerDNS speaks of texts that name Docker's DNS server: nothing
// answers at that address in a pod. Proxies have it in their configuration,
// because they look names up themselves.
func (t *translator) reportDockerDNS() {
	found := func(path string) {
		t.report.approximated(path, dockerDNS+" in it is Docker's DNS server, which pods do not have: what asks it finds no names",
			"write the cluster's DNS server instead, kube-dns.kube-system.svc.cluster.local, or the one that /etc/resolv.conf of a pod names")
	}
	for _, u := range t.units {
		for name, value := range u.svc.Environment {
			if value != nil && namesDockerDNS(*value) {
				found(u.path + ".environment." + name)
			}
		}
		if slices.ContainsFunc(u.svc.Entrypoint, namesDockerDNS) {
			found(u.path + ".entrypoint")
		}
		if slices.ContainsFunc(u.svc.Command, namesDockerDNS) {
			found(u.path + ".command")
		}
		for i, v := range u.svc.Volumes {
			if v.Type == types.VolumeTypeBind && filesNameDockerDNS(t.in.Paths[v.Source]) {
				found(itemPath(u.path, "volumes", i))
			}
		}
	}
	for name := range t.files.configs {
		if namesDockerDNS(string(t.fileContent(types.FileObjectConfig(t.project.Configs[name])))) {
			found("configs." + name)
		}
	}
}

// filesNameDockerDNS reports whether a file, or one of the files of a
// directory, names the server.
func filesNameDockerDNS(facts PathFacts) bool {
	if namesDockerDNS(string(facts.Content)) {
		return true
	}
	for _, file := range facts.Files {
		if namesDockerDNS(string(file.Content)) {
			return true
		}
	}
	return false
}

// namesDockerDNS reports whether a text has the address as a whole.
func namesDockerDNS(text string) bool {
	for {
		at := strings.Index(text, dockerDNS)
		if at < 0 {
			return false
		}
		before, after := at > 0 && partOfAddress(text[at-1]), text[at+len(dockerDNS):]
		if !before && (after == "" || !partOfAddress(after[0])) {
			return true
		}
		text = after
	}
}

func partOfAddress(c byte) bool { return c == '.' || c >= '0' && c <= '9' }
