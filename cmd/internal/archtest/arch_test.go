package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/berth-dev/berth/"

// allowed is the import table: what a package of ours, tests left out, may
// import of ours. A name that ends in /... stands for the package and all below it.
var allowed = []struct {
	pkg     string
	imports []string
}{
	{"cmd/berth", []string{"cmd/internal/cli"}},
	{"cmd/berth-agent", []string{"infra/agent/..."}},
	{"cmd/internal/...", []string{"..."}},
	{"templates", nil},
	{"infra/progress", nil},
	{"infra/problem", nil},
	{"infra/model", nil},
	{"infra/testneed", nil},
	{"infra/docker", leaves},
	{"infra/kube", leaves},
	{"infra/ingress", append(infra, "infra/addon", "infra/apply")},
	{"infra/metrics", append(infra, "infra/addon", "infra/apply")},
	{"infra/agentset", append(infra, "infra/addon", "infra/apply")},
	{"infra/offline/...", append(infra, "infra/image", "infra/offline/...")},
	{"infra/bundle", append(infra, "infra/image/layout")},
	{"infra/workshop/...", append(infra, "infra/workshop/...")},
	{"infra/cluster", append(infra, "infra/agent/checkpoint")}, // whose messages it reads
	{"infra/gateway", append(infra, "infra/agent/proxy")},      // whose configuration it writes
	{"infra/agent/...", append(infra, "infra/agent/...")},
	{"infra/image/...", append(infra, "infra/image/...")},
	{"infra/...", infra},
	{"translate", nil},
	{"translate/...", []string{"translate"}},
	{"devloop/watch", leaves},
	{"devloop/bench/...", []string{"devloop/bench/tree", "devloop/devtest"}},
	{"devloop/devtest", nil},
	{"devloop", append([]string{"translate", "devloop/watch"}, leaves...)},
	{"examples/...", []string{"infra/testneed"}},
}

var (
	leaves = []string{"infra/progress", "infra/problem", "infra/model"}
	infra  = []string{"infra/progress", "infra/problem", "infra/model", "templates", "infra/docker", "infra/kube", "infra/agent", "infra/testneed"}
)

// owners says which package alone may import a third-party library.
var owners = map[string]string{
	"sigs.k8s.io/kind/":                            "infra/cluster",
	"github.com/docker/docker/client":              "infra/docker",
	"github.com/fsnotify/fsnotify":                 "devloop/watch",
	"github.com/spf13/cobra":                       "cmd/internal/cli",
	"github.com/compose-spec/compose-go/v2/loader": "translate/composefile",
	"github.com/compose-spec/compose-go/v2/cli":    "translate/composefile",
	"github.com/robfig/cron/v3":                    "translate",
	"k8s.io/client-go/":                            "infra/kube",
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		may, known := importsOf(name)
		if !known {
			t.Errorf("package %s is not in the import table: give it a row here and in ARCHITECTURE.md", name)
			continue
		}
		for _, path := range p.Imports {
			imported, ours := strings.CutPrefix(path, module)
			if ours && !matchesAny(imported, may) {
				t.Errorf("%s must not import %s", name, imported)
			}
		}
	}
}

func TestEveryLibraryHasOneOwner(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, path := range p.Imports {
			for library, owner := range owners {
				if (path+"/" == library || strings.HasPrefix(path, library)) && name != owner && !strings.HasPrefix(name, owner+"/") {
					t.Errorf("%s imports %s, which only %s may", name, path, owner)
				}
			}
		}
	}
}

// importsOf finds the most exact row of the table for a package.
func importsOf(name string) ([]string, bool) {
	best, found := -1, -1
	for i, row := range allowed {
		if matches(name, row.pkg) && len(row.pkg) > best {
			best, found = len(row.pkg), i
		}
	}
	if found < 0 {
		return nil, false
	}
	return allowed[found].imports, true
}

func matchesAny(name string, patterns []string) bool {
	for _, p := range patterns {
		if matches(name, p) {
			return true
		}
	}
	return false
}

func matches(name, pattern string) bool {
	prefix, tree := strings.CutSuffix(pattern, "...")
	if !tree {
		return name == pattern
	}
	return strings.HasPrefix(name+"/", prefix)
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []goPackage
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
