package translate_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// attributeRow is one row of testdata/attributes.yaml.
type attributeRow struct {
	Covers   []string          `json:"covers"`
	Service  map[string]any    `json:"service"`
	Top      map[string]any    `json:"top"`
	Want     map[string]any    `json:"want"`
	Report   map[string]string `json:"report"`
	Portable struct {
		Want   map[string]any    `json:"want"`
		Report map[string]string `json:"report"`
	} `json:"portable"`
}

func attributeRows(t testing.TB) []attributeRow {
	t.Helper()
	raw, err := os.ReadFile("testdata/attributes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rows []attributeRow
	if err := yaml.UnmarshalStrict(raw, &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// write makes the project of a row in a fresh folder and reads it.
func (row attributeRow) read(t *testing.T) (translate.Input, string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"live/x", "dir"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := row.compose(t)
	for name, content := range map[string]string{"compose.yaml": string(text), "live/secret": "x", "x.json": "{}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	in, _, err := composefile.Read(t.Context(), composefile.Options{Dir: dir, ProjectName: "demo", Env: []string{"HOME=/home/x"}})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return in, dir
}

// compose is the compose file of a row.
func (row attributeRow) compose(t testing.TB) []byte {
	t.Helper()
	web := map[string]any{"image": "i"}
	if row.Service["build"] != nil || row.Service["extends"] != nil {
		web = map[string]any{}
	}
	maps.Copy(web, row.Service)
	services := map[string]any{"web": web, "db": map[string]any{"image": "d"}}
	file := map[string]any{"services": services}
	for key, value := range row.Top {
		if key == "services" {
			maps.Copy(services, value.(map[string]any))
			continue
		}
		file[key] = value
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestEveryAttributeLandsWhereItShould(t *testing.T) {
	for i, row := range attributeRows(t) {
		t.Run(fmt.Sprintf("%d/%s", i, row.Covers[0]), func(t *testing.T) {
			in, dir := row.read(t)
			want, report := row.Want, row.Report
			checkRow(t, "owned", mustTranslate(t, in, goldenOwned(dir)), want, report)
			want, report = maps.Clone(want), maps.Clone(report)
			if len(row.Portable.Want) > 0 {
				want = row.Portable.Want
			}
			maps.Copy(report, row.Portable.Report)
			checkRow(t, "portable", mustTranslate(t, in, translate.Target{Kind: translate.Portable}), want, report)
		})
	}
}

// checkRow compares fields and report entries with what is expected.
func checkRow(t *testing.T, target string, r translate.Result, want map[string]any, report map[string]string) {
	t.Helper()
	for _, fault := range faults(r) {
		t.Errorf("%s: %s", target, fault)
	}
	for field, value := range want {
		if field == "pod.hostAliases.0" && target == "owned" {
			field = hostAliasField(r, value)
		}
		got := fieldOf(t, r, field)
		switch {
		case value == "absent":
			if got != nil {
				t.Errorf("%s: %s is %v", target, field, got)
			}
		case value == "any":
			if got == nil {
				t.Errorf("%s: %s is absent", target, field)
			}
		case !reflect.DeepEqual(got, value):
			t.Errorf("%s: %s is %v, want %v", target, field, got, value)
		}
	}
	worst := map[string]translate.Status{}
	for _, e := range r.Report {
		if _, ok := worst[e.Path]; !ok { // sorted, worst first
			worst[e.Path] = e.Status
		}
	}
	for path, status := range report {
		full := strings.TrimPrefix("services.web."+path, "services.web./")
		if string(worst[full]) != status {
			t.Errorf("%s: the report calls %s %q, want %q", target, full, worst[full], status)
		}
	}
}

// hostAliasField is where an owned cluster's list, which has the host's own
// name too, holds the address.
func hostAliasField(r translate.Result, value any) string {
	for _, o := range r.Objects() {
		if t := templateOf(o); t != nil && o.GetName() == "web" {
			for i, h := range t.Spec.HostAliases {
				if h.IP == value.(map[string]any)["ip"] {
					return "pod.hostAliases." + strconv.Itoa(i)
				}
			}
		}
	}
	return "pod.hostAliases.0"
}

// fieldOf finds a field: "template.", "pod." and "container." are shorthands
// for places in the workload of web, Kind/name names another object, and "~"
// stands for a dot inside a key.
func fieldOf(t *testing.T, r translate.Result, field string) any {
	t.Helper()
	object, path := "", field
	if kind, rest, ok := strings.Cut(field, "/"); ok && kind != "" && kind[0] >= 'A' && kind[0] <= 'Z' {
		name, tail, _ := strings.Cut(rest, ".")
		object, path = kind+"/"+name, tail
	}
	for short, long := range map[string]string{"template.": "spec.template.", "pod.": "spec.template.spec.", "container.": "spec.template.spec.containers.0."} {
		if strings.HasPrefix(path, short) && object == "" {
			path = long + strings.TrimPrefix(path, short)
			break
		}
	}
	for _, o := range r.Objects() {
		kind := o.GetObjectKind().GroupVersionKind().Kind
		if object == "" && (templateOf(o) == nil || o.GetName() != "web") || object != "" && !matches(object, kind+"/"+o.GetName()) {
			continue
		}
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(text, &tree); err != nil {
			t.Fatal(err)
		}
		return descend(tree, path)
	}
	return nil
}

// matches compares a name with a pattern that may end in a star.
func matches(pattern, name string) bool {
	prefix, open := strings.CutSuffix(pattern, "*")
	return pattern == name || open && strings.HasPrefix(name, prefix)
}

func descend(tree any, path string) any {
	if path == "" {
		return tree
	}
	for _, key := range strings.Split(path, ".") {
		key = strings.ReplaceAll(key, "~", ".")
		switch node := tree.(type) {
		case map[string]any:
			tree = node[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(node) {
				return nil
			}
			tree = node[i]
		default:
			return nil
		}
	}
	return tree
}

func TestEveryAttributeOfTheSchemaHasARow(t *testing.T) {
	var exact, prefixes []string
	for _, row := range attributeRows(t) {
		for _, c := range row.Covers {
			if rest, top := strings.CutPrefix(c, "/"); top {
				c = rest
			} else {
				c = "services.*." + c
			}
			if prefix, tree := strings.CutSuffix(c, "..."); tree {
				prefixes = append(prefixes, prefix)
			}
			exact = append(exact, strings.TrimSuffix(c, "..."))
		}
	}
	for _, p := range translate.SchemaPaths(t) {
		p = strings.Replace(p, "services.*.pre_start[].", "services.*.", 1) // what hooks and jobs share with services
		if !strings.HasPrefix(p, "jobs.*.triggers") {
			p = strings.Replace(p, "jobs.*.", "services.*.", 1)
		}
		if p == "services.*.per_replica" { // of hooks only; see the golden case lifecycle
			continue
		}
		covered := slices.Contains(exact, p) || slices.ContainsFunc(prefixes, func(x string) bool {
			return strings.HasPrefix(p, x+".") || strings.HasPrefix(p, x+"[")
		})
		if !covered {
			t.Errorf("%s has no row in testdata/attributes.yaml", p)
		}
	}
}
