package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/berth-dev/berth/infra/testneed"
	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

var (
	portable = translate.Target{Kind: translate.Portable, IngressDomain: "localhost", HTTPPort: 80}
	owned    = translate.Target{Kind: translate.Owned, IngressDomain: "localhost", HTTPPort: 80, Dev: true, Mounts: []translate.Mount{{Host: "/", Node: "/host"}}}
)

// hardProject has what a template or a patch may get wrong.
const hardProject = `
name: hard
services:
  web.api_x:
    image: registry.example.com:5000/team/web:1.2.3
    command: ["{{ .Values.x }}", "{{", "}}", "{{- end }}", "$${HOME}", "~code~0~"]
    environment: {A: "1", TEMPLATE: "{{ .Release.Name }}", EMPTY: "", MULTI: "a\nb\n", QUOTE: 'a"b\c', UNICODE: "é😀"}
    labels: {note: "{{ x }}"}
    ports: ["8080:80", "9000:9000"]
    expose: ["80"]
    volumes: ["./src:/src", "data:/data", "/anon"]
    secrets: [token, binary]
    configs: [{source: conf, target: /etc/conf}]
    deploy: {replicas: 3, resources: {limits: {cpus: "0.5", memory: 64M}}}
    depends_on: [db]
  db:
    image: postgres@sha256:0123456789012345678901234567890123456789012345678901234567890123
    volumes: ["data2:/var/lib/postgresql", "share:/share"]
    healthcheck: {test: "pg_isready"}
  old: {image: "redis:6", pre_start: [{command: [x]}]}
  new: {image: "redis:7"}
  built: {build: ., network_mode: "service:db"}
  once: {image: job, restart: "no", command: [run]}
  every: {image: agent, deploy: {mode: global}}
jobs: {tidy: {image: "tidy:1", triggers: {schedule: [{cron: "@daily"}, {cron: "@hourly"}]}}}
volumes: {data: {}, data2: {}, share: {driver_opts: {type: nfs, o: addr=10.0.0.1, device: ":/srv"}}}
secrets: {token: {environment: TOKEN}, binary: {file: ./binary}}
configs: {conf: {content: "x: {{ y }}\nz: $${a}\n"}}
`

// hardInput reads hardProject from a new directory.
func hardInput(t testing.TB) translate.Input {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hard")
	for name, content := range map[string]string{"src/a.py": "x", "binary": "\x00\xff\x01", "Dockerfile": "FROM x"} {
		path := filepath.Join(dir, name)
		if err := write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	input, _, err := composefile.Read(t.Context(), composefile.Options{
		Dir: dir, Files: []string{"-"}, Stdin: strings.NewReader(hardProject), ProjectDirectory: dir, Env: []string{"TOKEN=s3cr3t {{ x }} é"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return input
}

// inputs are the hard project, the examples and, where it is there, the corpus.
func inputs(t testing.TB) map[string]translate.Input {
	t.Helper()
	all := map[string]translate.Input{"hard": hardInput(t)}
	for _, example := range []string{"guestbook", "vote", "shop"} {
		input, _, err := composefile.Read(t.Context(), composefile.Options{Dir: filepath.Join("..", "..", "examples", example)})
		if err != nil {
			t.Fatal(err)
		}
		all[example] = input
	}
	return all
}

func translated(t testing.TB, input translate.Input, target translate.Target) translate.Result {
	t.Helper()
	r, err := translate.Translate(input, target)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKustomizeBuildsTheTranslations(t *testing.T) {
	for name, input := range inputs(t) {
		t.Run(name, func(t *testing.T) { checkKustomize(t, input, "base", "overlays/prod", "overlays/dev") })
	}
}

func TestHelmRendersTheTranslation(t *testing.T) {
	for name, input := range inputs(t) {
		t.Run(name, func(t *testing.T) { checkHelm(t, input) })
	}
}

func TestTheCorpusCanBeExported(t *testing.T) {
	for _, p := range testneed.Projects(t) {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			input, _, err := composefile.Read(t.Context(), composefile.Options{Dir: p.Dir, Files: p.Files, EnvFiles: p.EnvFiles, Profiles: p.Profiles})
			if err != nil {
				t.Fatal(err)
			}
			checkKustomize(t, input, "overlays/dev") // which builds the base
			checkHelm(t, input)
			checkFolder(t, input)
		})
	}
}

// checkKustomize builds folders of a kustomization and compares them with what
// they are made of.
func checkKustomize(t *testing.T, input translate.Input, folders ...string) {
	t.Helper()
	dir := t.TempDir()
	base, dev := translated(t, input, portable), translated(t, input, owned)
	if err := Kustomize(dir, base, dev); err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		want := base
		if folder == "overlays/dev" {
			want = dev
		}
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(dir, folder))
		if err != nil {
			t.Fatalf("%s: %v", folder, err)
		}
		text, err := built.AsYaml()
		if err != nil {
			t.Fatal(err)
		}
		compare(t, folder, objectsIn(t, text), objectsIn(t, yamlText(t, want.Objects())))
	}
}

// checkHelm lints a chart and compares what it renders with the plain output.
func checkHelm(t *testing.T, input translate.Input) {
	t.Helper()
	r := translated(t, input, portable)
	dir := filepath.Join(t.TempDir(), r.Namespace)
	if err := Helm(dir, r); err != nil {
		t.Fatal(err)
	}
	for _, m := range lint.RunAll(dir, nil, "default").Messages {
		if m.Severity > support.InfoSev {
			t.Errorf("helm lint: %v", m)
		}
	}
	compare(t, "chart", objectsIn(t, renderChart(t, dir, nil)), objectsIn(t, yamlText(t, r.Objects())))
}

func checkFolder(t *testing.T, input translate.Input) {
	t.Helper()
	r := translated(t, input, portable)
	dir := t.TempDir()
	if err := Dir(dir, r.Objects()); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	files := tree(t, dir)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text.WriteString("---\n" + files[name])
	}
	compare(t, "folder", objectsIn(t, text.Bytes()), objectsIn(t, yamlText(t, r.Objects())))
}

// renderChart renders a chart's templates, notes left out.
func renderChart(t *testing.T, dir string, values map[string]any) []byte {
	t.Helper()
	chart, err := loader.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(chart, values, common.ReleaseOptions{Name: "release", Namespace: "default"}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := engine.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if strings.HasSuffix(name, ".yaml") {
			b.WriteString("---\n" + rendered[name])
		}
	}
	return b.Bytes()
}

func yamlText(t *testing.T, objects []translate.Object) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := YAML(&b, objects); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// objectsIn reads a stream of YAML documents, by kind and name.
func objectsIn(t *testing.T, text []byte) map[string]any {
	t.Helper()
	objects := map[string]any{}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var o map[string]any
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if len(o) > 0 {
			objects[fmt.Sprintf("%v/%v", o["kind"], dig(o, "metadata", "name"))] = withoutEmpty(o)
		}
	}
}

// withoutEmpty drops empty texts from environment variables: {name: A} and
// {name: A, value: ""} are the same to Kubernetes.
func withoutEmpty(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			v[key] = withoutEmpty(child)
		}
		if _, variable := v["name"]; variable && v["value"] == "" {
			delete(v, "value")
		}
	case []any:
		for i, child := range v {
			v[i] = withoutEmpty(child)
		}
	}
	return value
}

func compare(t *testing.T, what string, got, want map[string]any) {
	t.Helper()
	for name, object := range want {
		if !reflect.DeepEqual(got[name], object) {
			t.Errorf("%s: %s differs; the way back:\n%s", what, name, yamlOf(jsonPatch(got[name], object, "")))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: has %s besides", what, name)
		}
	}
}

func TestHelmValuesAreReal(t *testing.T) {
	r := translated(t, hardInput(t), portable)
	dir := filepath.Join(t.TempDir(), "hard")
	if err := Helm(dir, r); err != nil {
		t.Fatal(err)
	}
	values := map[string]any{
		"namespace": "elsewhere", "createNamespace": false,
		"services": map[string]any{"web.api_x": map[string]any{
			"replicas": 7, "image": map[string]any{"tag": "2.0"}, "env": map[string]any{"A": "changed", "MORE": 5},
			"resources": map[string]any{"limits": map[string]any{"cpu": "2"}}, "hosts": []any{"web.example.com"},
		}, "old": map[string]any{"image": map[string]any{"tag": "9"}}, "tidy": map[string]any{"image": map[string]any{"tag": "2"}}},
		"volumes": map[string]any{"data": map[string]any{"size": "5Gi", "storageClass": "fast"}},
		"secrets": map[string]any{"token": map[string]any{"token": "other"}},
	}
	text := string(renderChart(t, dir, values))
	for _, want := range []string{
		`namespace: "elsewhere"`, "replicas: 7", `image: "registry.example.com:5000/team/web:2.0"`, `value: "changed"`, `name: "MORE"`, `value: "5"`,
		`cpu: "2"`, `"web.example.com"`, `storage: "5Gi"`, `storageClassName: "fast"`, `token: "b3RoZXI="`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	for _, image := range []string{"redis:9", "tidy:2"} { // of a hook and its service, of both schedules of a job
		if n := strings.Count(text, `image: "`+image+`"`); n != 2 {
			t.Errorf("%s is there %d times", image, n)
		}
	}
	if strings.Contains(text, "kind: Namespace") {
		t.Error("the namespace is there although it must not be created")
	}
	// A changed secret has a new name, wherever it is used.
	for name := range objectsIn(t, []byte(text)) {
		if strings.HasPrefix(name, "Secret/token-") {
			old := slices.Sorted(maps.Keys(objectsIn(t, yamlText(t, r.Objects()))))
			if slices.Contains(old, name) || strings.Count(text, strings.TrimPrefix(name, "Secret/")) < 2 {
				t.Errorf("%s: the name does not follow the content", name)
			}
		}
	}
}

func TestDevSettingsAreOnlyInDev(t *testing.T) {
	dir := t.TempDir()
	input := hardInput(t)
	if err := Kustomize(dir, translated(t, input, portable), translated(t, input, owned)); err != nil {
		t.Fatal(err)
	}
	var dev bool
	for name, text := range tree(t, dir) {
		for _, setting := range []string{"hostPath", "NodePort"} {
			if strings.Contains(text, setting) {
				if !strings.HasPrefix(name, "overlays/dev/") {
					t.Errorf("%s in %s", setting, name)
				}
				dev = true
			}
		}
	}
	if !dev {
		t.Error("the overlay dev has neither bind mounts nor NodePorts")
	}
}

func TestExportsAreTheSameEveryTime(t *testing.T) {
	input := hardInput(t)
	var first map[string]string
	for range 20 {
		dir := t.TempDir()
		base, dev := translated(t, input, portable), translated(t, input, owned)
		for name, err := range map[string]error{
			"kustomize": Kustomize(filepath.Join(dir, "kustomize"), base, dev),
			"helm":      Helm(filepath.Join(dir, "helm"), base),
			"plain":     Dir(filepath.Join(dir, "plain"), base.Objects()),
		} {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		files := tree(t, dir)
		if first == nil {
			first = files
		}
		if !maps.Equal(files, first) {
			t.Fatal("the files differ from those of the first run")
		}
	}
}

func TestHelmPutsNFSVolumesIntoItsNamespace(t *testing.T) {
	dir := t.TempDir()
	if err := Helm(dir, translated(t, hardInput(t), portable)); err != nil {
		t.Fatal(err)
	}
	objects := objectsIn(t, renderChart(t, dir, map[string]any{"namespace": "other"}))
	volume, ok := objects["PersistentVolume/other-share"]
	if !ok {
		t.Fatalf("no volume of the namespace: %v", slices.Sorted(maps.Keys(objects)))
	}
	if got := dig(volume, "spec", "claimRef", "namespace"); got != "other" {
		t.Errorf("it is for a claim in namespace %v", got)
	}
	if got := dig(objects["PersistentVolumeClaim/share"], "spec", "volumeName"); got != "other-share" {
		t.Errorf("the claim asks for volume %v", got)
	}
}
