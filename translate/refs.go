package translate

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// portRefs are the ports at which a project's own texts ("db:5432" in an
// environment variable, a command, a health check, a configuration or a file
// that is mounted) address its services: by service, sorted.
type portRefs map[string][]int

// maxRefText bounds how much of a project's files is read for port references,
// in bytes.
const maxRefText = 16 << 20

// findPortRefs reads every text of the project once.
func (t *translator) findPortRefs() portRefs {
	refs := portRefs{}
	names := t.addressees()
	add := func(host string, port int) {
		for _, service := range names[host] {
			if at, found := slices.BinarySearch(refs[service], port); !found {
				refs[service] = slices.Insert(refs[service], at, port)
			}
		}
	}
	read := func(text string) { scanHostPorts(text, add) }
	for _, u := range t.units {
		pairedPorts(u.svc.Environment, add)
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
	left := maxRefText
	for _, content := range t.ownFiles() {
		if left -= len(content); left < 0 {
			break
		}
		if bytes.IndexByte(content, 0) < 0 {
			read(string(content))
		}
	}
	return refs
}

// ownFiles are the contents of the configs and secrets of a project, and of
// the small files that it mounts, in a fixed order.
func (t *translator) ownFiles() [][]byte {
	var out [][]byte
	for _, key := range sortedKeys(t.project.Configs) {
		out = append(out, t.fileContent(types.FileObjectConfig(t.project.Configs[key])))
	}
	for _, key := range sortedKeys(t.project.Secrets) {
		out = append(out, t.fileContent(types.FileObjectConfig(t.project.Secrets[key])))
	}
	seen := map[string]bool{}
	for _, u := range t.units {
		for _, v := range u.svc.Volumes {
			if v.Type != types.VolumeTypeBind || seen[v.Source] {
				continue
			}
			seen[v.Source] = true
			facts := t.in.Paths[v.Source]
			out = append(out, facts.Content)
			for _, name := range sortedKeys(facts.Files) {
				out = append(out, facts.Files[name].Content)
			}
		}
	}
	return out
}

// pairedPorts calls found for every pair of variables such as DB_HOST and
// DB_PORT.
func pairedPorts(env types.MappingWithEquals, found func(host string, port int)) {
	for name, value := range env {
		if value == nil {
			continue
		}
		for _, suffix := range []string{"HOST", "HOSTNAME", "SERVER", "ADDR", "ADDRESS"} {
			prefix, ok := cutSuffixFold(name, suffix)
			if !ok {
				continue
			}
			end := "PORT"
			if name[len(prefix)] == suffix[0]|0x20 {
				end = "port"
			}
			if port := env[prefix+end]; port != nil {
				if n, ok := parseUint(*port); ok && n > 0 && n <= 65535 {
					found(*value, n)
				}
			}
		}
	}
}

// cutSuffixFold is strings.CutSuffix without regard to case.
func cutSuffixFold(s, suffix string) (string, bool) {
	at := len(s) - len(suffix)
	if at < 0 || !strings.EqualFold(s[at:], suffix) {
		return s, false
	}
	return s[:at], true
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
		colon := strings.IndexByte(text[i:], ':')
		if colon < 0 {
			return
		}
		if i += colon; i+1 >= len(text) || text[i+1] < '0' || text[i+1] > '9' {
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
