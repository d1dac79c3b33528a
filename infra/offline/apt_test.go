package offline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const bookwormSources = `# comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
`

func TestSourcesOfBothFormatsAreRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("sources.list", "# old\ndeb [signed-by=/k.gpg arch=amd64] http://one.example/debian bookworm main # end\ndeb-src http://one.example/debian bookworm main\n")
	write("sources.list.d/debian.sources", bookwormSources)
	got, err := readAptSources(dir)
	if err != nil {
		t.Fatal(err)
	}
	var uris []string
	for _, s := range got {
		uris = append(uris, s.URIs...)
	}
	want := "http://one.example/debian http://mirror.example/debian http://mirror.example/debian-security"
	if strings.Join(uris, " ") != want {
		t.Errorf("read %q, want %q", uris, want)
	}
	if k := got[0].Options["Signed-By"]; k != "/k.gpg" {
		t.Errorf("signed-by of the one-line entry is %q", k)
	}
	if k := got[2].Options["Signed-By"]; !strings.Contains(k, "\n abc\n") {
		t.Errorf("the embedded key lost its lines: %q", k)
	}
	if again := parseDeb822(got[2].String()); len(again) != 1 || again[0].String() != got[2].String() {
		t.Errorf("a stanza does not survive being written and read:\n%s", got[2])
	}
}

func TestDebianSourcesComeFromTheMachine(t *testing.T) {
	machine := parseDeb822(bookwormSources)
	other := parseOneLine("deb http://node.example/node nodistro main\ndeb http://ubuntu.example/ubuntu noble main universe\n")
	cases := map[string]struct {
		machine       []aptSource
		suite, mirror string
		want          string // URI suites, one entry a line
		fails         bool
	}{
		"its own release": {
			machine, "bookworm", "",
			"http://mirror.example/debian bookworm bookworm-updates\nhttp://mirror.example/debian-security bookworm-security", false,
		},
		"another release":    {machine, "trixie", "", "http://mirror.example/debian trixie", false},
		"a mirror is set":    {machine, "bookworm", "http://m.example/d", "http://m.example/d bookworm", false},
		"a mirror on Ubuntu": {other, "bookworm", "http://m.example/d", "http://m.example/d bookworm", false},
		"Ubuntu":             {other, "bookworm", "", "", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := debianSources(c.machine, c.suite, c.mirror)
			if (err != nil) != c.fails {
				t.Fatalf("error %v, want one: %v", err, c.fails)
			}
			var lines []string
			for _, s := range got {
				lines = append(lines, s.URIs[0]+" "+strings.Join(s.Suites, " "))
				if strings.Join(s.Components, " ") != "main" {
					t.Errorf("components %q", s.Components)
				}
			}
			if text := strings.Join(lines, "\n"); text != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", text, c.want)
			}
		})
	}
	if k := func() string {
		s, err := debianSources(machine, "trixie", "http://m.example/d")
		if err != nil {
			t.Fatal(err)
		}
		return s[0].Options["Signed-By"]
	}(); k != "/usr/share/keyrings/debian-archive-keyring.gpg" {
		t.Errorf("a mirror is checked with key %q, not with the machine's", k)
	}
}
