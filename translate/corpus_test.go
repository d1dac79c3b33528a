package translate_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/testneed"
	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
	"github.com/berth-dev/berth/translate/export"
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

// The table of counts shows at once what a change of a rule does to real
// projects; make golden rewrites it.
func TestCorpusCountsAreAsExpected(t *testing.T) {
	const file = "testdata/corpus.tsv"
	inputs := corpus(t)
	var b strings.Builder
	b.WriteString("project\ttarget\tobjects\texact\tapproximated\tneeds-cluster\tdropped\tblocks\n")
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		in := inputs[name]
		for path := range in.Paths { // what else the machine has is not the project's
			if !strings.HasPrefix(path, in.Project.WorkingDir) {
				delete(in.Paths, path)
			}
		}
		for _, kind := range []string{"owned", "portable"} {
			r := mustTranslate(t, in, targets()[kind])
			counts, blocks := export.Counts(r.Report), 0
			for _, e := range r.Report {
				if e.Blocks {
					blocks++
				}
			}
			fmt.Fprintf(&b, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", name, kind, len(r.Objects()), counts[translate.Exact], counts[translate.Approximated], counts[translate.NeedsCluster], counts[translate.Dropped], blocks)
		}
	}
	compareGolden(t, file, b.String())
}
