package translate

import (
	"fmt"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// dockerDNS is where containers on a network of Docker find its DNS server.
const dockerDNS = "127.0.0.11"

// reportDockerDNS speaks of texts that name Docker's DNS server: nothing
// answers at that address in a pod. Proxies have it in their configuration,
// because they look names up themselves.
func (t *translator) reportDockerDNS() {
	look := func(path, text string) {
		if namesDockerDNS(text) {
			t.report.approximated(path, dockerDNS+" in it is Docker's DNS server, which pods do not have: what asks it finds no names",
				"write the cluster's DNS server instead, kube-dns.kube-system.svc.cluster.local, or the one that /etc/resolv.conf of a pod names")
		}
	}
	for _, u := range t.units {
		for _, name := range sortedKeys(u.svc.Environment) {
			if value := u.svc.Environment[name]; value != nil {
				look(u.path+".environment."+name, *value)
			}
		}
		look(u.path+".entrypoint", strings.Join(u.svc.Entrypoint, " "))
		look(u.path+".command", strings.Join(u.svc.Command, " "))
		for i, v := range u.svc.Volumes {
			if v.Type == types.VolumeTypeBind {
				t.lookInFiles(fmt.Sprintf("%s.volumes[%d]", u.path, i), t.in.Paths[v.Source], look)
			}
		}
	}
	for _, name := range sortedKeys(t.files.configs) {
		look("configs."+name, string(t.fileContent(types.FileObjectConfig(t.project.Configs[name]))))
	}
}

// lookInFiles looks at a file, or at the files of a directory until one names
// the server.
func (t *translator) lookInFiles(path string, facts PathFacts, look func(path, text string)) {
	look(path, string(facts.Content))
	for _, name := range sortedKeys(facts.Files) {
		if text := string(facts.Files[name].Content); namesDockerDNS(text) {
			look(path, text)
			return
		}
	}
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
