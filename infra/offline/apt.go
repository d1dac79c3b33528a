package offline

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/problem"
)

// mirrorVariable names the environment variable that overrides the address of
// Debian's archive.
const mirrorVariable = "BERTH_DEBIAN_MIRROR"

// An aptSource is one entry of the machine's package sources.
type aptSource struct {
	Types      []string
	URIs       []string
	Suites     []string
	Components []string
	Options    map[string]string // deb822 fields, such as Signed-By; a multi-line value keeps its line breaks
}

// String returns the entry as a deb822 stanza.
func (s aptSource) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Types: %s\nURIs: %s\nSuites: %s\nComponents: %s\n", strings.Join(s.Types, " "),
		strings.Join(s.URIs, " "), strings.Join(s.Suites, " "), strings.Join(s.Components, " "))
	for _, k := range slices.Sorted(maps.Keys(s.Options)) {
		fmt.Fprintf(&b, "%s: %s\n", k, s.Options[k])
	}
	return b.String()
}

// readAptSources reads the package sources of a machine from its /etc/apt.
func readAptSources(etcApt string) ([]aptSource, error) {
	files := []string{filepath.Join(etcApt, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, err := filepath.Glob(filepath.Join(etcApt, "sources.list.d", pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	var all []aptSource
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(f, ".sources") {
			all = append(all, parseDeb822(string(raw))...)
		} else {
			all = append(all, parseOneLine(string(raw))...)
		}
	}
	return all, nil
}

// parseOneLine reads the traditional format: deb [options] uri suite component...
func parseOneLine(text string) []aptSource {
	names := map[string]string{"signed-by": "Signed-By", "trusted": "Trusted", "check-valid-until": "Check-Valid-Until", "arch": "Architectures"}
	var all []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || kind != "deb" {
			continue
		}
		s := aptSource{Types: []string{"deb"}, Options: map[string]string{}}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			options, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				continue
			}
			for _, o := range strings.Fields(options) {
				k, v, _ := strings.Cut(o, "=")
				if name := names[strings.ToLower(k)]; name != "" {
					s.Options[name] = v
				}
			}
			rest = after
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			continue
		}
		s.URIs, s.Suites, s.Components = fields[:1], fields[1:2], fields[2:]
		all = append(all, s)
	}
	return all
}

// parseDeb822 reads stanzas of "Field: value" lines; entries that are turned
// off or hold only sources are left out.
func parseDeb822(text string) []aptSource {
	var all []aptSource
	fields := map[string]string{}
	last := ""
	end := func() {
		s := aptSource{Options: map[string]string{}}
		for k, v := range fields {
			switch strings.ToLower(k) {
			case "types":
				s.Types = strings.Fields(v)
			case "uris":
				s.URIs = strings.Fields(v)
			case "suites":
				s.Suites = strings.Fields(v)
			case "components":
				s.Components = strings.Fields(v)
			case "enabled":
			default:
				s.Options[k] = v
			}
		}
		off := strings.EqualFold(fields["Enabled"], "no")
		if !off && slices.Contains(s.Types, "deb") && len(s.URIs) > 0 && len(s.Suites) > 0 {
			s.Types = []string{"deb"}
			all = append(all, s)
		}
		fields, last = map[string]string{}, ""
	}
	scan := bufio.NewScanner(strings.NewReader(text))
	for scan.Scan() {
		line := scan.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			end()
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				fields[last] += "\n" + line
			}
		default:
			k, v, _ := strings.Cut(line, ":")
			last = strings.TrimSpace(k)
			fields[last] = strings.TrimSpace(v)
		}
	}
	end()
	return all
}

// debianSources returns the entries that serve a Debian suite and its updates,
// in a form that apt and mmdebstrap read: from the mirror variable if it is
// set, else from the machine's own sources. A suite the machine does not use
// itself is taken from the archive of the one it does use.
func debianSources(machine []aptSource, suite, mirror string) ([]aptSource, error) {
	var own, archive []aptSource
	for _, s := range machine {
		if !slices.Contains(s.Components, "main") {
			continue
		}
		s.Components = []string{"main"}
		delete(s.Options, "Architectures")
		mine := slices.DeleteFunc(slices.Clone(s.Suites), func(x string) bool {
			return x != suite && x != suite+"-updates" && x != suite+"-security"
		})
		if len(mine) > 0 {
			s.Suites = mine
			own = append(own, s)
		} else if isDebianSuite(s.Suites) {
			archive = append(archive, s)
		}
	}
	if mirror != "" {
		s := aptSource{Types: []string{"deb"}, URIs: []string{mirror}, Suites: []string{suite}, Components: []string{"main"}}
		if len(own)+len(archive) > 0 {
			s.Options = append(own, archive...)[0].Options
		}
		return []aptSource{s}, nil
	}
	if len(own) > 0 {
		return own, nil
	}
	if len(archive) > 0 {
		s := archive[0]
		s.Suites = []string{suite}
		return []aptSource{s}, nil
	}
	return nil, problem.New(fmt.Sprintf("find a Debian mirror for %q", suite), fmt.Errorf("the machine's apt sources name none"),
		"set "+mirrorVariable+" to the address of a Debian archive")
}

// isDebianSuite reports whether one of the suites is a release of Debian
// itself rather than of another archive.
func isDebianSuite(suites []string) bool {
	known := []string{"bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable"}
	return slices.ContainsFunc(suites, func(s string) bool { return slices.Contains(known, s) })
}
