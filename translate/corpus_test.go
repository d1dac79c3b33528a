package translate_test

import (
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
	inputs := map[string]translate.Input{}
	for _, p := range testneed.Projects(t) {
		in, _, err := composefile.Read(t.Context(), composefile.Options{Dir: p.Dir, Files: p.Files, EnvFiles: p.EnvFiles, Profiles: p.Profiles})
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		inputs[p.Name] = in
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
