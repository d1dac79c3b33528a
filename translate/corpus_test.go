package translate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/testneed"
	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// targets are the destinations every project is translated for.
func targets() map[string]translate.Target {
	return map[string]translate.Target{
		"owned": {
			Kind: translate.Owned, HostGateway: "172.18.0.1", IngressDomain: "localhost", HTTPPort: 80,
			AgentDir: "/usr/local/lib/berth", Nodes: 2,
		},
		"zones": {
			Kind: translate.Owned, HostGateway: "172.18.0.1", IngressDomain: "localhost", HTTPPort: 8081,
			Mounts:     []translate.Mount{{Host: "/", Node: "/host"}},
			DNSAddress: "10.96.0.10", DNSZone: "berth.internal", Dev: true,
		},
		"portable": {Kind: translate.Portable, IngressDomain: "example.com"},
	}
}

// corpus reads every project of the corpus as its SOURCE file says.
func corpus(t testing.TB) map[string]translate.Input {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(testneed.Corpus(t), "*", "SOURCE"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("no projects in the corpus: %v", err)
	}
	inputs := map[string]translate.Input{}
	for _, source := range sources {
		dir := filepath.Dir(source)
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		o := composefile.Options{Dir: dir}
		for _, line := range strings.Split(string(content), "\n") {
			key, value, _ := strings.Cut(line, ":")
			switch key {
			case "files":
				o.Files = strings.Fields(value)
			case "env-files":
				o.EnvFiles = strings.Fields(value)
			case "profiles":
				o.Profiles = strings.Fields(value)
			}
		}
		in, _, err := composefile.Read(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(dir), err)
		}
		inputs[filepath.Base(dir)] = in
	}
	return inputs
}

func TestEveryProjectOfTheCorpusTranslates(t *testing.T) {
	for name, in := range corpus(t) {
		for kind, target := range targets() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				r, err := translate.Translate(in, target)
				if err != nil {
					t.Fatal(err)
				}
				for _, fault := range faults(r) {
					t.Error(fault)
				}
			})
		}
	}
}
