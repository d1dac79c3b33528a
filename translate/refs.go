package translate

import (
	"slices"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"
)

// portRefs are the ports at which a project's own texts ("db:5432" in an
// environment variable, a command, a health check or a configuration) address
// its services: by service, sorted.
type portRefs map[string][]int

// findPortRefs reads every text of the project once.
func (t *translator) findPortRefs() portRefs {
	refs := portRefs{}
	names := t.addressees()
	read := func(text string) {
		scanHostPorts(text, func(host string, port int) {
			for _, service := range names[host] {
				if at, found := slices.BinarySearch(refs[service], port); !found {
					refs[service] = slices.Insert(refs[service], at, port)
				}
			}
		})
	}
	for _, u := range t.units {
		for _, value := range u.svc.Environment {
			if value != nil {
				read(*value)
			}
		}
		for _, list := range [][]string{u.svc.Command, u.svc.Entrypoint} {
			for _, text := range list {
				read(text)
			}
		}
		if h := u.svc.HealthCheck; h != nil {
			for _, text := range h.Test {
				read(text)
			}
		}
	}
	for _, c := range t.project.Configs {
		read(string(t.fileContent(types.FileObjectConfig(c))))
	}
	return refs
}

// addressees maps every name a service answers to, to the services.
func (t *translator) addressees() map[string][]string {
	names := map[string][]string{}
	add := func(name string, u *unit) {
		if name != "" && !slices.Contains(names[name], u.name) {
			names[name] = append(names[name], u.name)
		}
	}
	for _, u := range t.units {
		add(u.name, u)
		add(u.svc.ContainerName, u)
		add(u.svc.Hostname, u)
		for _, n := range u.svc.Networks {
			if n != nil {
				for _, a := range n.Aliases {
					add(a, u)
				}
			}
		}
	}
	return names
}

// scanHostPorts calls found for every "host:port" in text.
func scanHostPorts(text string, found func(host string, port int)) {
	for i := 1; i+1 < len(text); i++ {
		if text[i] != ':' || text[i+1] < '0' || text[i+1] > '9' {
			continue
		}
		end := i + 1
		for end < len(text) && end-i <= 6 && text[end] >= '0' && text[end] <= '9' {
			end++
		}
		start := i
		for start > 0 && i-start < maxSubdomain && isHostByte(text[start-1]) {
			start--
		}
		if port, err := strconv.Atoi(text[i+1 : end]); err == nil && port > 0 && port <= 65535 && start < i {
			found(text[start:i], port)
		}
		i = end - 1
	}
}

func isHostByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}
