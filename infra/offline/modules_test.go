package offline

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/progress"
)

func TestEveryModuleIsPinned(t *testing.T) {
	modules, err := readModules()
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range modules {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := m.writeTo(dir); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var mod struct {
				Module  struct{ Path string }
				Require []struct{ Path, Version string }
				Replace []struct {
					Old struct{ Path string }
					New struct{ Path, Version string }
				}
				Tool []struct{ Path string }
			}
			if err := json.Unmarshal(out, &mod); err != nil {
				t.Fatal(err)
			}
			if mod.Module.Path != "kit.berth.dev/"+name {
				t.Errorf("it calls itself %q", mod.Module.Path)
			}
			// Every module that is required has its checksum in go.sum.
			replaced := map[string]string{}
			for _, r := range mod.Replace {
				replaced[r.Old.Path] = strings.TrimSpace(r.New.Path + " " + r.New.Version)
				if strings.HasPrefix(r.New.Path, ".") {
					if _, err := os.Stat(filepath.Join(dir, r.New.Path, "go.mod")); err != nil {
						t.Errorf("%s is replaced by a folder that is not there: %v", r.Old.Path, err)
					}
				}
			}
			for _, r := range mod.Require {
				line := r.Path + " " + r.Version
				if to, ok := replaced[r.Path]; ok {
					line = to
				}
				if strings.HasPrefix(line, ".") {
					continue
				}
				if !strings.Contains(m.files["go.sum"], line+"/go.mod h1:") && !strings.Contains(m.files["go.sum"], line+" h1:") {
					t.Errorf("go.sum does not know %s", line)
				}
			}
			if _, own := m.files["main.go"]; !own && len(m.programs) > 0 && len(mod.Tool) != len(m.programs) {
				t.Errorf("%d tools are built, %d programs are expected", len(mod.Tool), len(m.programs))
			}
		})
	}
}

func TestKindIsTheOneThatDrivesNodes(t *testing.T) {
	modules, err := readModules()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := requiredVersion(string(raw), "sigs.k8s.io/kind")
	if err != nil {
		t.Fatal(err)
	}
	if got := modules["kind"].version; got != want {
		t.Errorf("nodes are made with the files of kind %s, berth drives them with %s", got, want)
	}
}

func TestModuleKeyChangesWithWhatIsBuilt(t *testing.T) {
	modules, err := readModules()
	if err != nil {
		t.Fatal(err)
	}
	m := modules["cni"]
	key := m.key()
	for name, change := range map[string]func(*module){
		"go.sum": func(m *module) { m.files["go.sum"] += "x" },
		"flags":  func(m *module) { m.ldflags += "x" },
		"tags":   func(m *module) { m.tags += "x" },
	} {
		c := m
		c.files = map[string]string{}
		for k, v := range m.files {
			c.files[k] = v
		}
		change(&c)
		if c.key() == key {
			t.Errorf("a change of %s does not change the key", name)
		}
	}
}

func TestNodePlanFollowsItsParts(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	kit, err := New(progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	first, err := kit.planNode()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := kit.planNode(); err != nil || again.key != first.key {
		t.Errorf("the key of the node image is not stable: %v", err)
	}
	if !strings.HasPrefix(first.ref(), "berth/node:"+kit.modules["kubernetes"].version+"-") {
		t.Errorf("the node image is called %q", first.ref())
	}
	for _, name := range nodeModules {
		m := kit.modules[name]
		old := m.ldflags
		m.ldflags += " -X a.b=c"
		kit.modules[name] = m
		if changed, err := kit.planNode(); err != nil || changed.key == first.key {
			t.Errorf("another build of %s does not make another node image (%v)", name, err)
		}
		m.ldflags = old
		kit.modules[name] = m
	}
}

func TestProgramsUseTheStandardLibraryOnly(t *testing.T) {
	for name, p := range programs {
		for file, text := range p.source {
			if strings.Contains(text, `"github.com/`) || strings.Contains(text, `"k8s.io/`) || strings.Contains(text, `"golang.org/x/`) {
				t.Errorf("%s/%s imports something that the kit would have to fetch", name, file)
			}
		}
	}
}
