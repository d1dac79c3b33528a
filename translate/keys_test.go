package translate

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// schemaNode is a part of compose's JSON schema.
type schemaNode struct {
	Ref               string                `json:"$ref"`
	Defs              map[string]schemaNode `json:"$defs"`
	Properties        map[string]schemaNode `json:"properties"`
	PatternProperties map[string]schemaNode `json:"patternProperties"`
	Items             *schemaNode           `json:"items"`
	AllOf             []schemaNode          `json:"allOf"`
	OneOf             []schemaNode          `json:"oneOf"`
	AnyOf             []schemaNode          `json:"anyOf"`
}

// composeSchema reads the schema of the pinned compose-go.
func composeSchema(t testing.TB) schemaNode {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/compose-spec/compose-go/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "schema", "compose-spec.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s schemaNode
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// schemaPaths lists every attribute path of the schema, "*" for free names.
func schemaPaths(t testing.TB) []string {
	root := composeSchema(t)
	found := map[string]bool{}
	var walk func(path string, n schemaNode, depth int)
	walk = func(path string, n schemaNode, depth int) {
		if depth > 30 {
			t.Fatalf("%s: the schema goes in circles", path)
		}
		if n.Ref != "" {
			walk(path, root.Defs[strings.TrimPrefix(n.Ref, "#/$defs/")], depth+1)
		}
		for name, child := range n.Properties {
			at := strings.TrimPrefix(path+"."+name, ".")
			found[at] = true
			walk(at, child, depth+1)
		}
		for pattern, child := range n.PatternProperties {
			if pattern != "^x-" {
				walk(path+".*", child, depth+1)
			}
		}
		if n.Items != nil {
			walk(path+"[]", *n.Items, depth+1)
		}
		for _, list := range [][]schemaNode{n.AllOf, n.OneOf, n.AnyOf} {
			for _, child := range list {
				walk(path, child, depth+1)
			}
		}
	}
	walk("", root, 0)
	var paths []string
	for p := range found {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	return paths
}

// classified finds the key that speaks for a schema path.
func classified(trees keyTrees, path string) bool {
	parts := segments(path)
	tables := map[string]*keyTree{
		"services": trees.service, "jobs": trees.job, "networks": trees.network, "volumes": trees.volume,
		"secrets": trees.secret, "configs": trees.config, "models": trees.model,
	}
	node := tables[parts[0]]
	if node == nil {
		node = trees.top
	} else {
		parts = parts[min(2, len(parts)):]
		if len(parts) == 0 {
			return true // the table itself
		}
	}
	if len(parts) > 2 && parts[0] == "pre_start" && node == trees.service {
		node, parts = trees.hook, parts[2:]
	}
	for _, segment := range parts {
		next := node.child(segment)
		if next == nil {
			return false
		}
		node = next
		if node.key != nil && !node.key.deep {
			return true
		}
	}
	return node.key != nil || len(node.children) > 0
}

func TestEveryAttributeOfTheSchemaIsClassified(t *testing.T) {
	trees := newKeyTrees()
	paths := schemaPaths(t)
	if len(paths) < 325 {
		t.Fatalf("only %d paths in the schema", len(paths))
	}
	for _, p := range paths {
		if !classified(trees, p) {
			t.Errorf("%s has no key in keys_*.go", p)
		}
	}
}

// A key that the schema does not have is a leftover.
func TestEveryKeyIsInTheSchema(t *testing.T) {
	known := map[string]bool{}
	for _, p := range schemaPaths(t) {
		parts := segments(p)
		for n := range parts {
			known[strings.Join(parts[:n+1], ".")] = true
		}
		known[strings.Join(parts, ".")+".*"] = true // entries of lists and mappings
	}
	check := func(base string, tables ...[]key) {
		for _, table := range tables {
			for _, k := range table {
				at := strings.TrimPrefix(base+"."+strings.Join(segments(k.path), "."), ".")
				if !strings.HasSuffix(at, extension) && !known[at] {
					t.Errorf("the key %s is not in the schema", at)
				}
			}
		}
	}
	check("", topKeys())
	check("services.*", containerKeys(), workloadKeys(), serviceKeys(), deployKeys())
	check("services.*.pre_start.*", hookKeys())
	check("jobs.*", jobKeys())
	check("networks.*", networkKeys())
	check("volumes.*", volumeKeys())
	check("models.*", modelKeys())
}
