package translate_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/translate"
)

// oddNames are service names that are hard on Kubernetes.
var oddNames = []string{"web", "db", "a_b", "a-b", "A_B", "a.b", "1st", "web-ready", "x--y", "-_-", "default", "kubernetes", "a-very-long-name-of-a-service-that-no-label-of-kubernetes-could-ever-hold"}

// combination makes a project of services that each set several attributes at
// once, as the seed says.
func combination(t testing.TB, rows []attributeRow, seed uint64) []byte {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	services := map[string]any{}
	file := map[string]any{"services": services}
	for _, name := range oddNames[:2+random.IntN(len(oddNames)-2)] {
		service := map[string]any{"image": fmt.Sprintf("image-%d", random.IntN(3))}
		for range random.IntN(12) {
			row := rows[random.IntN(len(rows))]
			if row.Service["extends"] != nil || row.Service["build"] != nil && service["network_mode"] != nil {
				continue
			}
			maps.Copy(service, row.Service)
			merge(file, row.Top)
		}
		if service["network_mode"] != nil {
			delete(service, "networks")
		}
		services[name] = service
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// merge adds the tables of from to those of into.
func merge(into, from map[string]any) {
	for key, value := range from {
		table, ok := value.(map[string]any)
		if !ok || into[key] == nil {
			if ok {
				value = maps.Clone(table)
			}
			into[key] = value
			continue
		}
		if old, ok := into[key].(map[string]any); ok {
			maps.Copy(old, table)
		}
	}
}

// combinations reads n projects.
func combinations(t testing.TB, n int) []translate.Input {
	t.Helper()
	rows := attributeRows(t)
	dir := t.TempDir()
	var out []translate.Input
	refused := 0
	for seed := range uint64(n) {
		text := combination(t, rows, seed)
		in, err := readText(t, dir, text)
		if err != nil {
			refused++ // attributes that exclude each other
			if refused == 1 {
				t.Logf("for one: %v", err)
			}
			continue
		}
		if seed%2 == 0 {
			in.Images = guessedFacts(in)
		}
		out = append(out, in)
	}
	if refused > n/2 {
		t.Fatalf("%d of %d projects were refused", refused, n)
	}
	return out
}

func TestCombinationsOfAttributesAreValid(t *testing.T) {
	for i, in := range combinations(t, 400) {
		for kind, target := range targets() {
			r := mustTranslate(t, in, target)
			for _, fault := range faults(r) {
				t.Errorf("%d/%s: %s", i, kind, fault)
			}
		}
	}
}
