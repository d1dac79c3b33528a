package export

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// hard are strings that a YAML writer may get wrong.
var hard = []string{
	"", " ", "a", "true", "True", "yes", "off", "null", "~", "1", "1.5", "1e3", "0x1f", "0o7", "012", "1_000", "12:30:45", ".5", ".inf", "-", "- a", "-a",
	"--flag=x", "a: b", "a:", ":a", "a #b", "#a", "a b", " a", "a ", "nginx:1.25", "http://x:80/y?z=1&w=2", "[a]", "{a}", "a, b", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a",
	"'a'", "\"a\"", "a\\b", "a\nb", "a\nb\n", "a\nb\n\n", "\n", "\n\n", "a\n", "  a\nb", "a\n  b\n", "a \nb", "a\t\nb", "\ta\nb", "a\r\nb", "a\x00b", "\x7f", "\u0085", "\u2028", "\ufeff", "é", "日本", "😀", "😀\na",
	"a\n\nb", "a\n---\nb", "---", "...", "=", "<<", "2024-01-01", "2024-01-01T00:00:00Z", "0b1", "+1", "NaN", "/", "/a", "a/", "$(x)", "$x", "a(b)", "(a", "\ud7ff", "a\n#b", "#a\nb", "? a", "a ? b", "key: |\n  x\n", "a\u00a0b", "1Gi", "512Mi", "Mi", "1GGi", "1i", "i", "1_0Mi", "0x1Mi",
	strings.Repeat("x", 5000), "a\n " + strings.Repeat("y", 300),
}

func TestEveryStringSurvives(t *testing.T) {
	for _, s := range hard {
		roundTrip(t, map[string]any{"k": s, "l": []any{s, []any{s}, map[string]any{"m": s, "n": []any{s}}}})
		if len(s) < 254 && s != "<<" { // no Kubernetes key is longer
			roundTrip(t, map[string]any{"x" + s: map[string]any{s: s}})
		}
	}
}

func FuzzEveryStringSurvives(f *testing.F) {
	for _, s := range hard {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?")
		if strings.HasPrefix(a, "<<") || len(a) > 253 {
			return // the reader takes it for a merge key, quoted or not; no Kubernetes key is longer
		}
		roundTrip(t, map[string]any{a: b, "l": []any{a, map[string]any{"m": b}}})
	})
}

// roundTrip writes a value and reads it back with the parser that Kubernetes
// uses.
func roundTrip(t *testing.T, value map[string]any) {
	t.Helper()
	var b bytes.Buffer
	writeYAML(&b, value, 0)
	var back map[string]any
	if err := yaml.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatalf("%v\n%q\n%s", err, value, b.String())
	}
	// JSON makes the two comparable.
	want, _ := json.Marshal(value)
	got, _ := json.Marshal(back)
	if !bytes.Equal(want, got) {
		t.Fatalf("wrote %s, read %s:\n%s", want, got, b.String())
	}
}

func TestStyleIsKubectls(t *testing.T) {
	value := map[string]any{
		"spec": map[string]any{
			"ports": []any{map[string]any{"port": int64(80), "name": "http"}},
			"args":  []any{"--a", "b", []any{"c"}},
			"empty": map[string]any{}, "none": []any{}, "nil": nil, "yes": true,
		},
		"data": map[string]any{"a.conf": "line 1\n  line 2\n"},
	}
	var b bytes.Buffer
	writeYAML(&b, value, 0)
	want := `data:
  a.conf: |
    line 1
      line 2
spec:
  args:
  - "--a"
  - b
  - - c
  empty: {}
  nil: null
  none: []
  ports:
  - name: http
    port: 80
  "yes": true
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if !reflect.DeepEqual(isPlain("nil"), true) {
		t.Error("nil is a plain string")
	}
}
