package translate_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
	"github.com/berth-dev/berth/translate/export"
)

// Each folder of testdata/golden is one concept: compose.yaml and what it
// reads, facts.yaml with what is known of images, and what is expected for an
// owned cluster (want.yaml, want-report.txt) and for a portable one
// (portable.yaml, portable-report.txt).
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/golden/*/compose.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, c := range cases {
		dir := filepath.Dir(c)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			in, root := goldenInput(t, dir)
			for prefix, target := range map[string]translate.Target{"want": goldenOwned(root), "portable": {Kind: translate.Portable, IngressDomain: "example.com"}} {
				r, err := translate.Translate(in, target)
				if err != nil {
					t.Fatal(err)
				}
				for _, fault := range faults(r) {
					t.Errorf("%s: %s", prefix, fault)
				}
				compareGolden(t, filepath.Join(dir, prefix+".yaml"), strings.ReplaceAll(manifests(t, r), root, "/project"))
				compareGolden(t, filepath.Join(dir, prefix+"-report.txt"), strings.ReplaceAll(reportText(r), root, "/project"))
			}
		})
	}
}

// goldenOwned sees ./live of the project, and nothing else of the host.
func goldenOwned(root string) translate.Target {
	return translate.Target{
		Kind: translate.Owned, HostGateway: "172.18.0.1", IngressDomain: "localhost", HTTPPort: 80, AgentDir: "/usr/local/lib/berth", Nodes: 2,
		Mounts: []translate.Mount{{Host: filepath.Join(root, "live"), Node: "/berth/live"}},
	}
}

// goldenInput reads a case.
func goldenInput(t testing.TB, dir string) (translate.Input, string) {
	t.Helper()
	root, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	in, _, err := composefile.Read(t.Context(), composefile.Options{Dir: root, ProjectName: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "facts.yaml")); err == nil {
		if err := yaml.UnmarshalStrict(raw, &in.Images); err != nil {
			t.Fatal(err)
		}
	}
	return in, root
}

func manifests(t testing.TB, r translate.Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := export.YAML(&b, r.Objects()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// reportText is the report and what the manifests do not show, a line each.
func reportText(r translate.Result) string {
	var b strings.Builder
	for _, e := range r.Report {
		blocks := ""
		if e.Blocks {
			blocks = " BLOCKS"
		}
		fmt.Fprintf(&b, "%s (%s:%d) %s%s: %s", e.Path, filepath.Base(e.Position.File), e.Position.Line, e.Status, blocks, e.Done)
		if e.Do != "" {
			fmt.Fprintf(&b, " -> %s", e.Do)
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	for _, s := range r.Services {
		fmt.Fprintf(&b, "service %s: %s %s x%d, container %q, image %q, restart %s\n", s.Name, s.Kind, s.Workload, s.Replicas, s.Container, s.Image, s.Restart)
		for _, d := range s.DependsOn {
			fmt.Fprintf(&b, "  after %s %s required=%t restart=%t\n", d.Service, d.Condition, d.Required, d.Restart)
		}
		for _, p := range s.Ports {
			fmt.Fprintf(&b, "  port %s:%d-%d -> %s:%d/%s\n", p.HostIP, p.HostPort, p.HostPortEnd, p.KubeService, p.Target, p.Protocol)
		}
		for _, u := range s.URLs {
			fmt.Fprintf(&b, "  url %s\n", u)
		}
	}
	for _, i := range r.Images {
		users := ""
		if i.Users {
			users = " users"
		}
		fmt.Fprintf(&b, "image %s: build=%t pull=%q platform=%q%s for %v\n", i.Ref, i.Build != nil, i.PullPolicy, i.Platform, users, i.Services)
	}
	for _, n := range r.Names {
		fmt.Fprintf(&b, "name %s\n", nameText(n))
	}
	return b.String()
}

// nameText is a name, who resolves it, and where it leads.
func nameText(n translate.Name) string {
	if n.Only != "" {
		return fmt.Sprintf("%s in %s alone -> %s", n.Name, n.Only, n.KubeService)
	}
	return fmt.Sprintf("%s in %s -> %s", n.Name, n.Network, n.KubeService)
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; make golden writes it", err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what is expected: make golden, then read git diff\n%s", path, firstDifference(string(want), got))
	}
}

// firstDifference shows the first lines in which two texts differ.
func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant: %s\ngot:  %s", i+1, strings.Join(w[i:min(i+4, len(w))], "\n      "), strings.Join(g[min(i, len(g)):min(i+4, len(g))], "\n      "))
		}
	}
	return fmt.Sprintf("%d more lines: %s", len(g)-len(w), g[len(w)])
}
