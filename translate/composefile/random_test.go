package composefile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// variants are ways to write each attribute, all of which go together.
var variants = map[string][]string{
	"image":             {"x", `"y:${TAG}"`},
	"build":             {".", "{context: ./b, args: {A: 1}}", "{args: [B=2, A=3], labels: {x: y}, dockerfile: D}", "{ssh: [default], cache_from: [c], additional_contexts: {n: ./n}}"},
	"command":           {"[a, b]", `"echo $$X 'y z'"`, "", "[]", "!override [z]"},
	"entrypoint":        {`""`, "[/e]", "/e f"},
	"environment":       {"{A: 1, B: two}", "[A=3, C]", "{C: , D: 1.5, E: true}", "!override {Z: 1}", "!reset null", "{A: !reset null}"},
	"env_file":          {"a.env", "[a.env, {path: b.env, required: false}]", "[{path: none.env, required: false}]"},
	"labels":            {"{l: 1}", "[l=2, m.n=o]", "{m.n: }"},
	"annotations":       {"{a: b}", "[a=c, d=e]"},
	"ports":             {"['80:80']", "[80, '81:81/udp']", "[{target: 80, published: \"80\"}]", "['9000-9001:9000-9001', '127.0.0.1:80:80']", "!override ['1:1']", "!reset []"},
	"expose":            {"[80]", "['80', 81/udp]"},
	"volumes":           {"['./a:/a']", "['./c:/a:ro', 'data:/d']", "[{type: volume, source: data, target: /d, volume: {nocopy: true}}]", "[/anon]"},
	"tmpfs":             {"/t", "[/t, '/u:size=1m']"},
	"dns":               {"1.1.1.1", "[1.1.1.1, 8.8.8.8]", "''"},
	"dns_search":        {"a.b", "[a.b, c]"},
	"depends_on":        {"[dep]", "{dep: {condition: service_healthy}}", "{dep: {condition: service_started, required: false, restart: true}}"},
	"networks":          {"[front]", "{front: {aliases: [w]}, back: }", "{back: {aliases: [w, v], priority: 1}}"},
	"logging":           {"{driver: json-file, options: {a: b}}", "{options: {c: d}}", "{driver: none}"},
	"ulimits":           {"{nproc: 5}", "{nproc: {soft: 1, hard: 2}, nofile: 3}"},
	"healthcheck":       {"{test: [CMD, x], interval: 1s}", "{test: y, retries: 2}", "{disable: true}"},
	"cap_add":           {"[A]", "[B, A]"},
	"secrets":           {"[s]", "[{source: s, target: t}]"},
	"configs":           {"[c]", "[{source: c, target: /c, mode: 0440}]"},
	"sysctls":           {"{a.b: 1}", "['a.b=2', c.d=3]"},
	"extra_hosts":       {"['h:1.1.1.1']", "{h: 2.2.2.2, i: 3.3.3.3}"},
	"devices":           {"['/dev/a:/dev/b']", "[{source: /dev/c, target: /dev/b, permissions: r}]"},
	"deploy":            {"{replicas: 2}", "{labels: [a=b], resources: {limits: {cpus: 1}}}", "{labels: {a: c}, placement: {constraints: [x]}}"},
	"restart":           {"always", "!reset null"},
	"privileged":        {"true", `"${T}"`},
	"profiles":          {"[p]", "[p, q]"},
	"x-extra":           {"{a: 1}", "{b: {x-c: 2}}"},
	"stop_grace_period": {"10s", "1m"},
	"develop":           {"{watch: [{path: ., action: rebuild}]}", "{watch: [{path: ./s, action: sync, target: /s, ignore: n}]}"},
	"gpus":              {"all", "[{count: 2, driver: nvidia}]"},
	"group_add":         {"[1]", "['2', 1]"},
}

// service writes a random service.
func randomService(rng *rand.Rand, share float64) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(variants)) {
		if key == "image" || rng.Float64() < share {
			fmt.Fprintf(&b, "    %s: %s\n", key, variants[key][rng.IntN(len(variants[key]))])
		}
	}
	return b.String()
}

// What compose-go makes of random projects of two files, an include and
// extends, we make of them too; what it refuses we may refuse in other words.
func TestRandomProjectsAreReadAsComposeGoReadsThem(t *testing.T) {
	const rest = `
  dep: {image: dep}
networks: {front: , back: {labels: [a=b]}}
volumes: {data: {}}
secrets: {s: {file: ./s}}
configs: {c: {content: x}}
`
	var same, refused int
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		dir := filepath.Join(t.TempDir(), "p")
		texts := map[string]string{
			"a.yaml":   "services:\n  web:\n" + randomService(rng, 0.4) + "  other:\n    extends: web\n" + randomService(rng, 0.2) + "  far:\n    extends: {file: e/e.yaml, service: base}\n" + randomService(rng, 0.2) + rest,
			"b.yaml":   "services:\n  web:\n" + randomService(rng, 0.4) + "  other:\n" + randomService(rng, 0.2),
			"e/e.yaml": "services:\n  base:\n" + randomService(rng, 0.3) + "    hostname: h\n",
			"i/i.yaml": "services:\n  web:\n" + randomService(rng, 0.2) + "  inner:\n" + randomService(rng, 0.3) + rest,
			"a.env":    "FROM_A=1\nA=env\n",
			"e/a.env":  "FROM_E=1\n",
			"i/a.env":  "FROM_I=$TAG\n",
			"i/.env":   "TAG=inner\n",
			"s":        "secret", "i/s": "secret", "b.env": "FROM_B=${A}\n",
		}
		if rng.IntN(2) == 0 {
			texts["a.yaml"] = "include: [i/i.yaml]\n" + texts["a.yaml"]
		}
		for name, text := range texts {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		o := Options{Dir: dir, Files: []string{"a.yaml", "b.yaml"}, Profiles: []string{"p"}, Env: []string{"T=true", "C=fromenv", "HOME=/root"}, ProjectName: "p"}
		theirs, theirErr := composeGo(t.Context(), o)
		ours, _, err := Read(t.Context(), o)
		if (err != nil) != (theirErr != nil) {
			t.Errorf("seed %d: ours %v, compose-go %v\n%s\n%s", seed, err, theirErr, texts["a.yaml"], texts["b.yaml"])
			continue
		}
		if err != nil {
			refused++
			continue
		}
		same++
		compareProjects(t, ours.Project, theirs)
		if t.Failed() {
			t.Fatalf("seed %d\n-- a.yaml\n%s-- b.yaml\n%s-- e.yaml\n%s-- i.yaml\n%s", seed, texts["a.yaml"], texts["b.yaml"], texts["e/e.yaml"], texts["i/i.yaml"])
		}
	}
	if same < 100 {
		t.Errorf("only %d projects could be compared, %d were refused", same, refused)
	}
	t.Logf("%d compared, %d refused", same, refused)
}
