package image

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// onEngine gives a test an engine, images with a cache of their own, and a
// project name; what the project built is removed at the end.
func onEngine(t testing.TB) (*docker.Client, *Images, string) {
	t.Helper()
	testneed.Docker(t)
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	images, err := New(engine, Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	project := "imgtest-" + token(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := images.Forget(ctx, project, nil); err != nil {
			t.Error(err)
		}
		_ = engine.Close()
	})
	return engine, images, project
}

func token(t testing.TB) string {
	t.Helper()
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b[:])
}

// tree writes files into a new folder.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, dir, name, text)
	}
	return dir
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBuildHonoursTheBuildSection(t *testing.T) {
	engine, images, project := onEngine(t)
	tests := []struct {
		name  string
		api   int // the API's minor version from which engines can do it
		files map[string]string
		spec  func(dir string) model.BuildSpec
		want  map[string]string // files of the image; "" for one that must not be there
		check func(t *testing.T, f model.ImageFacts)
	}{
		{
			name: "dockerfile, dockerignore, args, target and labels",
			files: map[string]string{
				"app/Dockerfile":    "ARG GREETING=none\nFROM scratch AS one\nARG GREETING\nLABEL greeting=$GREETING\nCOPY . /\nFROM scratch AS two\n",
				"app/.dockerignore": "*.log\nsecret\n!keep.log\n",
				"app/a.txt":         "a", "app/b.log": "b", "app/keep.log": "k", "app/secret/x": "x",
			},
			spec: func(dir string) model.BuildSpec {
				return model.BuildSpec{Context: filepath.Join(dir, "app"), Target: "one", Args: map[string]string{"GREETING": "hello"}, Labels: map[string]string{"mine": "1"}}
			},
			want: map[string]string{"/a.txt": "a", "/keep.log": "k", "/b.log": "", "/secret/x": ""},
			check: func(t *testing.T, f model.ImageFacts) {
				if f.Labels["greeting"] != "hello" || f.Labels["mine"] != "1" || f.Labels[model.LabelManagedBy] != "berth" {
					t.Errorf("labels are %v", f.Labels)
				}
			},
		},
		{
			name: "a Dockerfile outside the context, with its own dockerignore",
			files: map[string]string{
				"docker/web.Dockerfile":              "FROM scratch\nCOPY . /\n",
				"docker/web.Dockerfile.dockerignore": "skip\n",
				"src/a":                              "a", "src/skip": "s",
			},
			spec: func(dir string) model.BuildSpec {
				return model.BuildSpec{Context: filepath.Join(dir, "src"), Dockerfile: filepath.Join(dir, "docker", "web.Dockerfile")}
			},
			want: map[string]string{"/a": "a", "/skip": ""},
		},
		{
			name:  "dockerfile_inline",
			files: map[string]string{"a": "inline"},
			spec: func(dir string) model.BuildSpec {
				return model.BuildSpec{Context: dir, DockerfileInline: "FROM scratch\nCOPY a /b\n"}
			},
			want: map[string]string{"/b": "inline", "/a": ""},
		},
		{
			name: "additional contexts", api: 42,
			files: map[string]string{
				"main/Dockerfile": "FROM scratch\nCOPY --from=extra data /data\nCOPY here /here\n",
				"main/here":       "h", "other/data": "d",
			},
			spec: func(dir string) model.BuildSpec {
				return model.BuildSpec{Context: filepath.Join(dir, "main"), AdditionalContexts: map[string]string{"extra": filepath.Join(dir, "other")}}
			},
			want: map[string]string{"/data": "d", "/here": "h"},
		},
		{
			name: "the config", api: 44,
			files: map[string]string{"Dockerfile": `FROM scratch
COPY Dockerfile /
ENV A=1 B="two words"
WORKDIR /srv
USER 12:34
EXPOSE 8080 53/udp
VOLUME ["/data", "/cache"]
SHELL ["/bin/bash", "-c"]
STOPSIGNAL SIGINT
HEALTHCHECK --interval=3s --timeout=2s --start-period=10s --start-interval=1s --retries=7 CMD ["/check", "it"]
ENTRYPOINT ["/entry"]
CMD ["serve", "now"]
`},
			spec: func(dir string) model.BuildSpec { return model.BuildSpec{Context: dir} },
			check: func(t *testing.T, f model.ImageFacts) {
				got := strings.TrimSpace(fmt.Sprintln(f.Entrypoint, f.Cmd, f.Env, f.User, f.WorkingDir, f.Shell, f.StopSignal, f.Ports, f.Volumes))
				want := "[/entry] [serve now] [PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin A=1 B=two words] 12:34 /srv [/bin/bash -c] SIGINT [53/udp 8080/tcp] [/cache /data]"
				if got != want {
					t.Errorf("config is\n%s, want\n%s", got, want)
				}
				h := model.Health{Test: []string{"CMD", "/check", "it"}, Interval: 3 * time.Second, Timeout: 2 * time.Second, StartPeriod: 10 * time.Second, StartInterval: time.Second, Retries: 7}
				if f.Health == nil || fmt.Sprint(*f.Health) != fmt.Sprint(h) {
					t.Errorf("health check is %+v", f.Health)
				}
			},
		},
	}
	for _, tt := range tests {
		if tt.api > 0 && !engine.APIAtLeast(1, tt.api) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			spec := tt.spec(tree(t, tt.files))
			spec.Name, spec.Project = "berth.test/"+project+":dev", project
			facts, err := images.Build(t.Context(), spec, progress.Discard)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range tt.want {
				got, err := engine.ReadImageFile(t.Context(), facts.ID, name)
				if want == "" != errors.Is(err, os.ErrNotExist) || string(got) != want {
					t.Errorf("%s of the image is %q (%v), want %q", name, got, err, want)
				}
			}
			if tt.check != nil {
				tt.check(t, facts)
			}
		})
	}
}

func TestTheSameContentHasTheSameTag(t *testing.T) {
	engine, images, project := onEngine(t)
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "1"})
	spec := model.BuildSpec{Name: "berth.test/" + project + ":dev", Project: project, Services: []string{"web"}, Context: dir}
	build := func() model.ImageFacts {
		t.Helper()
		f, err := images.Build(t.Context(), spec, progress.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := build()
	if !strings.HasPrefix(first.Ref, "berth.test/"+project+":berth-") || len(tagOf(first.Ref)) != len("berth-")+12 {
		t.Errorf("content tag is %q", first.Ref)
	}
	write(t, dir, "ignored-by-the-dockerfile", "x")
	if again := build(); again.Ref != first.Ref {
		t.Errorf("a rebuild that changes nothing has tag %s after %s", again.Ref, first.Ref)
	}
	write(t, dir, "a", "2")
	second := build()
	if second.Ref == first.Ref {
		t.Errorf("changed content kept the tag %s", first.Ref)
	}
	write(t, dir, "a", "1")
	if back := build(); back.Ref != first.Ref {
		t.Errorf("the old content came back as %s, not %s", back.Ref, first.Ref)
	}
	// As a second checkout has it: elsewhere, with other times.
	spec.Context = tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "1"})
	if err := os.Chtimes(filepath.Join(spec.Context, "a"), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if second := build(); second.Ref != first.Ref {
		t.Errorf("a second checkout has tag %s, not %s", second.Ref, first.Ref)
	}
	for _, ref := range []string{spec.Name, first.Ref, second.Ref} {
		if _, found, err := engine.InspectImage(t.Context(), ref); err != nil || !found {
			t.Errorf("the engine has no %s (%v)", ref, err)
		}
	}
}

func TestAttestationsLeaveTheTagAlone(t *testing.T) {
	engine, images, project := onEngine(t)
	if store, err := engine.ContainerdStore(t.Context()); err != nil || !store {
		t.Skipf("the engine's image store holds no attestations (%v)", err)
	}
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "1"})
	spec := model.BuildSpec{Name: "berth.test/" + project + ":dev", Project: project, Services: []string{"web"}, Context: dir}
	want, err := images.Build(t.Context(), spec, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	spec.Provenance = "true"
	for range 2 {
		got, err := images.Build(t.Context(), spec, progress.Discard)
		if err != nil || got.Ref != want.Ref || got.ID != want.ID {
			t.Errorf("with attestations it is %s %s, not %s %s (%v)", got.Ref, got.ID, want.Ref, want.ID, err)
		}
	}
	named, found, err := engine.InspectImage(t.Context(), spec.Name)
	if err != nil || !found || named.Facts.ID == want.ID {
		t.Errorf("what the user pushes has no attestations: %s (%v)", named.Facts.ID, err)
	}
}

// Two programs that build one project at once both end with its image: each
// sees no image of that name, and only one of them can create it.
func TestBuildsOfOneNewNameAtOnce(t *testing.T) {
	engine, _, project := onEngine(t)
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "1"})
	for round := range 5 {
		spec := model.BuildSpec{Name: fmt.Sprintf("berth.test/%s:round%d", project, round), Project: project, Context: dir}
		var builds errgroup.Group
		for range 4 {
			images, err := New(engine, Options{CacheDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			builds.Go(func() error {
				_, err := images.Build(t.Context(), spec, progress.Discard)
				return err
			})
		}
		if err := builds.Wait(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

func TestFailedBuildShowsStepLinesAndOutput(t *testing.T) {
	_, images, project := onEngine(t)
	build := func(dockerfile string) error {
		dir := tree(t, map[string]string{"Dockerfile": dockerfile, "a": "a"})
		_, err := images.Build(t.Context(), model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: dir}, progress.Discard)
		return err
	}
	tests := []struct {
		name, dockerfile string
		want             []string
		hint             string
	}{
		{"missing file", "FROM scratch\nCOPY a /a\nCOPY nothere /b\n", []string{"build image \"berth.test/" + project, "COPY nothere /b", "Dockerfile:3", "not found"}, ""},
		{"syntax", "FROM scratch\nCPY a b\n", []string{"CPY", "Dockerfile:2"}, ""},
		{"missing base", "FROM berth.invalid/none:1\n", []string{"berth.invalid/none:1"}, "docker pull berth.invalid/none:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := build(tt.dockerfile)
			if err == nil {
				t.Fatal("the build succeeded")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q:\n%v", want, err)
				}
			}
			if !strings.Contains(problem.Hint(err), tt.hint) {
				t.Errorf("hint is %q", problem.Hint(err))
			}
		})
	}
}

// events collects what a sink is told.
type events struct {
	mu   sync.Mutex
	list []progress.Event
}

func (e *events) Report(ev progress.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func (e *events) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for _, ev := range e.list {
		fmt.Fprintf(&b, "%s %s %s %s %v\n", ev.Task, ev.State, ev.Text, ev.Log, ev.Err)
	}
	return b.String()
}

func TestSyntaxLineWithoutRegistryFallsBackToTheBuiltInFrontend(t *testing.T) {
	_, images, project := onEngine(t)
	dir := tree(t, map[string]string{"Dockerfile": "# syntax=docker/dockerfile:1.99-berth-test\nFROM scratch\nCOPY Dockerfile /\n"})
	var seen events
	_, err := images.Build(t.Context(), model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: dir}, &seen)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(seen.text(), "using BuildKit's own Dockerfile frontend") {
		t.Errorf("nothing was said of it:\n%s", seen.text())
	}
}

func TestBuildAllBuildsInOrderAndKeepsGoing(t *testing.T) {
	engine, images, project := onEngine(t)
	name := func(s string) string { return "berth.test/" + project + "-" + s + ":latest" }
	dir := tree(t, map[string]string{
		"base/Dockerfile":  "FROM scratch\nCOPY Dockerfile /base\n",
		"app/Dockerfile":   "FROM basis\nCOPY --from=basis /base /copied\n",
		"bad/Dockerfile":   "FROM scratch\nCOPY nothere /\n",
		"after/Dockerfile": "FROM broken\n",
	})
	spec := func(s string, contexts map[string]string) model.BuildSpec {
		return model.BuildSpec{Name: name(s), Project: project, Services: []string{s}, Context: filepath.Join(dir, s), AdditionalContexts: contexts}
	}
	facts, err := images.BuildAll(t.Context(), []model.BuildSpec{
		spec("app", map[string]string{"basis": "docker-image://" + name("base")}), spec("base", nil),
		spec("after", map[string]string{"broken": "docker-image://" + name("bad")}), spec("bad", nil),
	}, 2, progress.Discard)
	if err == nil || !strings.Contains(err.Error(), "nothere") || strings.Contains(err.Error(), "after") {
		t.Errorf("error is %v", err)
	}
	if got := slices.Sorted(maps.Keys(facts)); !slices.Equal(got, []string{name("app"), name("base")}) {
		t.Fatalf("built %v", got)
	}
	data, err := engine.ReadImageFile(t.Context(), facts[name("app")].ID, "/copied")
	if err != nil || !strings.HasPrefix(string(data), "FROM scratch") {
		t.Errorf("the image on top has %q (%v)", data, err)
	}
}

func TestUsersAreReadWithoutRunningTheImage(t *testing.T) {
	_, images, project := onEngine(t)
	dir := tree(t, map[string]string{
		"Dockerfile": "FROM scratch\nCOPY etc /etc\n",
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/nonexistent:/bin/false\n# odd\nbad:x:y:z\n",
		"etc/group":  "root:x:0:\nwww:x:102:web\n",
	})
	facts, err := images.Build(t.Context(), model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: dir}, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := images.AddUsers(t.Context(), &facts); err != nil {
		t.Fatal(err)
	}
	if facts.Passwd["web"] != (model.UserIDs{UID: 101, GID: 102}) || len(facts.Passwd) != 2 || facts.Groups["www"] != 102 {
		t.Errorf("users %v, groups %v", facts.Passwd, facts.Groups)
	}
}

func TestMissingImagesAreReportedTogether(t *testing.T) {
	_, images, _ := onEngine(t)
	_, err := images.EnsureAll(t.Context(), []Wanted{
		{Ref: "berth.invalid/one:1", Policy: model.PullNever}, {Ref: "berth.invalid/two:2", Policy: model.PullMissing},
	}, 0, progress.Discard)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"2 images are not in the engine", "berth.invalid/one:1", "berth.invalid/two:2"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if !strings.Contains(problem.Hint(err), "docker save") {
		t.Errorf("hint is %q", problem.Hint(err))
	}
}

func TestCancelledBuildStops(t *testing.T) {
	_, images, project := onEngine(t)
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY . /\n"})
	if err := os.Truncate(mustCreate(t, filepath.Join(dir, "big")), 2<<30); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	started := progress.SinkFunc(func(e progress.Event) {
		if strings.Contains(e.Text, "load build context") {
			once.Do(cancel)
		}
	})
	begin := time.Now()
	_, err := images.Build(ctx, model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: dir}, started)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func mustCreate(t *testing.T, path string) string {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
