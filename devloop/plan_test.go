package devloop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/translate"
)

var (
	port  = []types.ServicePortConfig{{Target: 80}}
	build = &types.BuildConfig{Context: "/src"}
	zero  = 0
)

var planCases = []struct {
	name    string
	project *types.Project
	leftOut []string
	opts    UpOptions
	known   []string // images
	loaded  bool     // the nodes have the images
	ledger  map[string][]model.FileSync
	there   []string // services on the cluster
	dirty   Dirty
	want    string
}{
	{
		name: "first up of a web service and its database",
		project: project("shop", svc{Name: "web", Build: build, Ports: port, DependsOn: depends("db healthy")},
			svc{Name: "db", Image: "postgres"}),
		dirty: Dirty{All: "up"},
		want: `
[] -> #1 project:shop, Apply, up
[1] -> #2 ports, Publish, up
[] -> #3 image:postgres, Pull, needed by db
[3] -> #4 image:postgres, Load, needed by db
[] -> #5 image:shop-web, Build, needed by web
[5] -> #6 image:shop-web, Load, needed by web
[1 4] -> #7 object:Deployment/db, Apply, not on the cluster
[7] -> #8 service:db, Wait service_healthy, awaited by web
[1 6 8] -> #9 object:Deployment/web, Apply, not on the cluster
[9] -> #10 service:web, Wait service_healthy, until it serves
[1 7 9] -> #11 project, Prune, up
`},
	{
		name:    "an image that two services share is built once, and the edit of one applies both",
		project: project("p", svc{Name: "a", Image: "app", Build: build}, svc{Name: "b", Image: "app", Build: build}, svc{Name: "c", Image: "c"}),
		known:   []string{"app", "c"}, there: []string{"a", "b", "c"},
		dirty: Dirty{Images: map[string]string{"app": "source changed: main.go"}},
		want: `
[] -> #1 image:app, Build, source changed: main.go
[1] -> #2 image:app, Load, source changed: main.go
[2] -> #3 object:Deployment/a, Apply, source changed: main.go
[2] -> #4 object:Deployment/b, Apply, source changed: main.go
[3] -> #5 service:a, Wait service_healthy, until it serves
[4] -> #6 service:b, Wait service_healthy, until it serves
`},
	{
		name: "a migration runs before the service that awaits its completion, an optional dependency need only end",
		project: project("p", svc{Name: "migrate", Image: "m"}, svc{Name: "cache", Image: "c", Ports: port},
			svc{Name: "web", Image: "w", DependsOn: depends("migrate completed_successfully", "cache started optional")}),
		known: []string{"m", "c", "w"}, dirty: Dirty{All: "up"},
		want: `
[] -> #1 project:p, Apply, up
[1] -> #2 ports, Publish, up
[] -> #3 image:c, Load, needed by cache
[] -> #4 image:m, Load, needed by migrate
[] -> #5 image:w, Load, needed by web
[1 3] -> #6 object:Deployment/cache, Apply, not on the cluster
[1 4] -> #7 object:Job/migrate, Apply, not on the cluster
[6] -> #8 service:cache, Wait service_started, awaited by web
[7] -> #9 service:migrate, Wait service_completed_successfully, awaited by web
[1 5 9 8?] -> #10 object:Deployment/web, Apply, not on the cluster
[6 8] -> #11 service:cache, Wait service_healthy, until it serves
[10] -> #12 service:web, Wait service_healthy, until it serves
[1 6 7 10] -> #13 project, Prune, up
`},
	{
		name:    "a client that nothing restarts starts after the services that publish ports",
		project: project("scaling", svc{Name: "client", Image: "c"}, svc{Name: "server", Image: "s", Ports: port}),
		known:   []string{"c", "s"}, dirty: Dirty{All: "up"},
		want: `
[] -> #1 project:scaling, Apply, up
[1] -> #2 ports, Publish, up
[] -> #3 image:c, Load, needed by client
[] -> #4 image:s, Load, needed by server
[1 4] -> #5 object:Deployment/server, Apply, not on the cluster
[5] -> #6 service:server, Wait service_started, publishes ports
[1 3 6?] -> #7 object:Deployment/client, Apply, not on the cluster
[5 6] -> #8 service:server, Wait service_healthy, until it serves
[7] -> #9 service:client, Wait service_healthy, until it serves
[1 5 7] -> #10 project, Prune, up
`},
	{
		name:    "one service without its dependencies, nothing waited for",
		project: project("p", svc{Name: "web", Image: "w", DependsOn: depends("db healthy")}, svc{Name: "db", Image: "d"}),
		opts:    UpOptions{Services: []string{"web"}, NoDeps: true, NoWait: true}, known: []string{"w"}, dirty: Dirty{All: "up"},
		want: `
[] -> #1 project:p, Apply, up
[] -> #2 image:w, Load, needed by web
[1 2] -> #3 object:Deployment/web, Apply, not on the cluster
[1 3] -> #4 project, Prune, up
`},
	{
		name:    "everything is created and nothing started, so that nothing waits",
		project: project("p", svc{Name: "web", Image: "w", DependsOn: depends("db healthy")}, svc{Name: "db", Image: "d"}),
		opts:    UpOptions{NoStart: true, ForceRecreate: true}, known: []string{"w", "d"}, there: []string{"db"}, dirty: Dirty{All: "up"},
		want: `
[] -> #1 project:p, Apply, up
[1] -> #2 ports, Publish, up
[] -> #3 image:d, Load, needed by db
[] -> #4 image:w, Load, needed by web
[1 3] -> #5 object:Deployment/db, Apply, up
[1 4] -> #6 object:Deployment/web, Apply, not on the cluster
[1 5 6] -> #7 project, Prune, up
hold service:db, created: --no-start; berth start starts it
hold service:web, created: --no-start; berth start starts it
`},
	{
		name:    "what is there already is left alone when that is asked for, changed images included",
		project: project("p", svc{Name: "web", Image: "w", DependsOn: depends("db healthy")}, svc{Name: "db", Build: build}),
		opts:    UpOptions{NoRecreate: true}, there: []string{"db"}, dirty: Dirty{All: "up"},
		want: `
[] -> #1 project:p, Apply, up
[1] -> #2 ports, Publish, up
[] -> #3 image:w, Pull, needed by web
[3] -> #4 image:w, Load, needed by web
[1 4] -> #5 object:Deployment/web, Apply, not on the cluster
[5] -> #6 service:web, Wait service_healthy, until it serves
[1 5] -> #7 project, Prune, up
hold service:db, on the cluster already; --no-recreate leaves it as it is
`},
	{
		name:    "scaled to nothing, orphans, services of inactive profiles, a forced recreation",
		project: project("p", svc{Name: "web", Image: "w", Scale: &zero}, svc{Name: "db", Image: "d"}),
		leftOut: []string{"debug"}, opts: UpOptions{ForceRecreate: true}, known: []string{"w", "d"}, there: []string{"db", "debug", "old"}, dirty: Dirty{All: "up"},
		want: `
[] -> #1 project:p, Apply, up
[1] -> #2 ports, Publish, up
[] -> #3 image:d, Load, needed by db
[] -> #4 image:w, Load, needed by web
[1 3] -> #5 object:Deployment/db, Apply, up
[5] -> #6 service:db, Restart, --force-recreate
[1 4] -> #7 object:Deployment/web, Apply, not on the cluster
[6] -> #8 service:db, Wait service_healthy, until it serves
[1 5 7] -> #9 project, Prune, up
hold service:web, scaled to 0: nothing to wait for
hold service:old, not in the project; --remove-orphans removes it
`},
	{
		name: "services that share a pod are one workload that needs both images and both dependencies",
		project: project("p", svc{Name: "app", Image: "a"}, svc{Name: "db", Image: "d", Restart: "always"},
			svc{Name: "proxy", Image: "x", NetworkMode: "service:app", DependsOn: depends("app started", "db healthy")}),
		known: []string{"a", "d", "x"}, dirty: Dirty{All: "up"},
		want: `
[] -> #1 project:p, Apply, up
[] -> #2 image:a, Load, needed by app
[] -> #3 image:d, Load, needed by db
[] -> #4 image:x, Load, needed by proxy
[1 3] -> #5 object:Deployment/db, Apply, not on the cluster
[5] -> #6 service:db, Wait service_healthy, awaited by app
[1 2 4 6] -> #7 object:Deployment/app, Apply, not on the cluster
[7] -> #8 service:app, Wait service_healthy, until it serves
[1 5 7] -> #9 project, Prune, up
`},
	{
		name: "an image built from another's is built after it",
		project: project("p", svc{Name: "base", Image: "base", Build: build},
			svc{Name: "app", Image: "app", Build: &types.BuildConfig{Context: "/a", AdditionalContexts: types.Mapping{"lib": "service:base"}}}),
		known: []string{"app", "base"}, there: []string{"app", "base"}, dirty: Dirty{Images: map[string]string{"base": "source changed: lib.go"}},
		want: `
[] -> #1 image:base, Build, source changed: lib.go
[1] -> #2 image:base, Load, source changed: lib.go
[1] -> #3 image:app, Build, built from image base
[3] -> #4 image:app, Load, built from image base
[4] -> #5 object:Deployment/app, Apply, built from image base
[2] -> #6 object:Deployment/base, Apply, source changed: lib.go
[5] -> #7 service:app, Wait service_healthy, until it serves
[6] -> #8 service:base, Wait service_healthy, until it serves
`},
	{
		name: "a dependency that is rebuilt restarts the services that follow it",
		project: project("p", svc{Name: "db", Image: "db", Build: build},
			svc{Name: "web", Image: "w", DependsOn: depends("db healthy restart")}, svc{Name: "free", Image: "f", DependsOn: depends("db healthy")}),
		known: []string{"db", "w", "f"}, there: []string{"db", "web", "free"}, dirty: Dirty{Images: map[string]string{"db": "source changed: x"}},
		want: `
[] -> #1 image:db, Build, source changed: x
[1] -> #2 image:db, Load, source changed: x
[2] -> #3 object:Deployment/db, Apply, source changed: x
[3] -> #4 service:db, Wait service_healthy, awaited by web
[4] -> #5 object:Deployment/web, Apply, depends on db with restart: true
[5] -> #6 service:web, Wait service_healthy, until it serves
`},
	{
		name: "a dependency whose pods are replaced restarts the services that follow it",
		project: project("p", svc{Name: "db", Image: "d"}, svc{Name: "web", Image: "w", DependsOn: depends("db healthy restart")},
			svc{Name: "free", Image: "f", DependsOn: depends("db healthy")}),
		known: []string{"d", "w", "f"}, there: []string{"db", "web", "free"}, loaded: true, dirty: Dirty{Restart: map[string]string{"db": "asked for"}},
		want: `
[] -> #1 service:db, Restart, asked for
[1] -> #2 service:db, Wait service_healthy, awaited by web
[2] -> #3 service:web, Restart, depends on db with restart: true
[3] -> #4 service:web, Wait service_healthy, until it serves
`},
	{
		name:    "files are synced, the program restarted, a command run, and the new state awaited",
		project: project("p", svc{Name: "web", Image: "w"}), known: []string{"w"}, there: []string{"web"}, loaded: true,
		dirty: Dirty{Sync: map[string]SyncWork{"web": {Cause: "source changed: a (+1)", Files: make([]model.FileSync, 2), Restart: true, Exec: make([]model.ExecSpec, 1)}}},
		want: `
[] -> #1 service:web, Sync 2 files, source changed: a (+1)
[1] -> #2 service:web, Rerun, source changed: a (+1)
[2] -> #3 service:web, Exec, source changed: a (+1)
[1? 2? 3?] -> #4 service:web, Wait service_healthy, until it serves
`},
	{
		name:    "what runs gets the files at once when an Apply changes nothing, whatever other pods wait for",
		project: project("p", svc{Name: "web", Image: "w"}), known: []string{"w"}, there: []string{"web"}, loaded: true,
		ledger: map[string][]model.FileSync{"web": make([]model.FileSync, 5)},
		dirty: Dirty{
			Services: map[string]string{"web": "not waited for before"},
			Sync:     map[string]SyncWork{"web": {Cause: "source changed: a", Files: make([]model.FileSync, 1), Restart: true}},
		},
		want: `
[] -> #1 object:Deployment/web, Apply, not waited for before
[1?] -> #2 service:web, Sync 5 files, source changed: a
[2 1?] -> #3 service:web, Rerun, source changed: a
[1 2? 3?] -> #4 service:web, Wait service_healthy, until it serves
`},
	{
		name:    "after a rebuild the new pods get what was synced before, and so do the old ones if it fails",
		project: project("p", svc{Name: "web", Build: build}), known: []string{"p-web"}, there: []string{"web"}, loaded: true,
		ledger: map[string][]model.FileSync{"web": make([]model.FileSync, 5)},
		dirty:  Dirty{Images: map[string]string{"p-web": "source changed: b"}, Sync: map[string]SyncWork{"web": {Cause: "source changed: a", Files: make([]model.FileSync, 1)}}},
		want: `
[] -> #1 image:p-web, Build, source changed: b
[1] -> #2 image:p-web, Load, source changed: b
[2] -> #3 object:Deployment/web, Apply, source changed: b
[3] -> #4 service:web, Wait service_started, to sync into it
[3? 4?] -> #5 service:web, Sync 5 files, source changed: a
[3 4 5?] -> #6 service:web, Wait service_healthy, until it serves
`},
	{
		name:    "nothing dirty, nothing to do",
		project: project("p", svc{Name: "web", Build: build, Ports: port}), known: []string{"p-web"}, there: []string{"web"},
		want: "\n"},
	{
		name:    "a pull_policy that prefers the registry, and the flags that overrule it",
		project: project("p", svc{Name: "web", Build: build, PullPolicy: "missing"}),
		opts:    UpOptions{NoWait: true}, dirty: Dirty{Images: map[string]string{"p-web": "asked for"}},
		want: `
[] -> #1 image:p-web, Pull, asked for
[1] -> #2 image:p-web, Load, asked for
[2] -> #3 object:Deployment/web, Apply, asked for
`},
}

func TestDecide(t *testing.T) {
	for _, c := range planCases {
		t.Run(c.name, func(t *testing.T) {
			in := translate.Input{Project: c.project, LeftOut: c.leftOut}
			result, err := fakeTranslate(in, translate.Target{})
			if err != nil {
				t.Fatal(err)
			}
			want, err := newWant(in, result, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			have := Have{Facts: map[string]model.ImageFacts{}, Loaded: map[string]bool{}, Services: map[string]model.ServiceState{}, Ledger: c.ledger}
			for _, ref := range c.known {
				have.Facts[ref], have.Loaded[ref] = model.ImageFacts{Ref: ref}, c.loaded
			}
			for _, name := range c.there {
				have.Services[name] = model.ServiceState{Service: name}
			}
			want.holdExisting(have)
			got := Decide(want, have, c.dirty).String()
			if "\n"+got != c.want {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
			if again := Decide(want, have, c.dirty).String(); again != got {
				t.Errorf("the second time it is\n%s", again)
			}
		})
	}
}

func TestFlagsDecideBetweenBuildAndPull(t *testing.T) {
	for _, c := range []struct {
		policy string
		opts   UpOptions
		want   Verb
	}{
		{"", UpOptions{}, Build},
		{"", UpOptions{NoBuild: true}, Pull},
		{"always", UpOptions{}, Pull},
		{"always", UpOptions{Build: true}, Build},
		{"build", UpOptions{}, Build},
		{"never", UpOptions{}, Build},
		{"daily", UpOptions{}, Pull},
	} {
		img := translate.Image{Ref: "x", Build: build, PullPolicy: c.policy, Services: []string{"x"}}
		got := Build
		if !builds(img, c.opts) {
			got = Pull
		}
		if got != c.want {
			t.Errorf("pull_policy %q, %+v: %s, want %s", c.policy, c.opts, got, c.want)
		}
	}
}

func TestThePullFlagWinsOverThePolicyOfImagesThatAreNotBuilt(t *testing.T) {
	for _, c := range []struct {
		policy, flag string
		build        bool
		want         model.PullPolicy
	}{
		{"", "", false, model.PullMissing},
		{"missing", "", false, model.PullMissing},
		{"if_not_present", "", false, model.PullMissing},
		{"always", "", false, model.PullAlways},
		{"refresh", "", false, model.PullAlways},
		{"never", "", false, model.PullNever},
		{"build", "", false, model.PullNever},
		{"daily", "", false, model.PullEvery(24 * time.Hour)},
		{"weekly", "", false, model.PullEvery(7 * 24 * time.Hour)},
		{"every_1d12h", "", false, model.PullEvery(36 * time.Hour)},
		{"", "always", false, model.PullAlways},
		{"always", "missing", false, model.PullMissing},
		{"daily", "never", false, model.PullNever},
		{"never", "always", true, model.PullNever},
	} {
		img := translate.Image{Ref: "x", PullPolicy: c.policy}
		if c.build {
			img.Build = build
		}
		if got, err := pullPolicy(img, UpOptions{Pull: c.flag}); got != c.want || err != nil {
			t.Errorf("pull_policy %q, --pull %q: %s, %v, want %s", c.policy, c.flag, got, err, c.want)
		}
	}
}

func TestBuildSpecKeepsEveryField(t *testing.T) {
	value := "1"
	config := &types.BuildConfig{
		Context: "/src", Dockerfile: "D", Target: "dev", Args: types.MappingWithEquals{"A": &value, "B": nil},
		Secrets: []types.ServiceSecretConfig{{Source: "token"}, {Source: "key", Target: "id"}}, SSH: types.SSHConfig{{ID: "default"}},
		ExtraHosts: types.HostsList{"h": {"1.2.3.4"}}, Ulimits: map[string]*types.UlimitsConfig{"nofile": {Single: 5}, "core": {Soft: 1, Hard: 2}},
		AdditionalContexts: types.Mapping{"lib": "service:base", "docs": "/docs"},
	}
	p := project("p")
	p.Secrets = types.Secrets{"token": {Environment: "TOKEN"}, "key": {File: "/k"}, "away": {External: true}}
	p.Environment = types.Mapping{"TOKEN": "of .env"}
	images := []translate.Image{{Ref: "base", Services: []string{"base"}}}
	facts := map[string]model.ImageFacts{"base": {Ref: "base:1"}}
	spec, err := BuildSpec(translate.Input{Project: p}, translate.Image{Ref: "app", Build: config, Platform: "linux/arm64"}, images, facts)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want any }{
		{spec.Args, map[string]string{"A": "1"}},
		{spec.Secrets, []model.BuildSecret{{ID: "token", Value: "of .env"}, {ID: "id", File: "/k"}}},
		{spec.SSH, []model.BuildSSH{{ID: "default"}}},
		{spec.ExtraHosts, []string{"h:1.2.3.4"}},
		{spec.Ulimits, []string{"core=1:2", "nofile=5:5"}},
		{spec.AdditionalContexts, map[string]string{"lib": "docker-image://base:1", "docs": "/docs"}},
		{spec.Platforms, []string{"linux/arm64"}},
	} {
		if !equalText(c.got, c.want) {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	two := &types.BuildConfig{Platforms: []string{"linux/arm64", "linux/s390x"}}
	if _, err := BuildSpec(translate.Input{Project: p}, translate.Image{Ref: "app", Build: two, Platform: "linux/amd64"}, nil, nil); err == nil || !strings.Contains(err.Error(), "build.platforms") {
		t.Errorf("a default platform that is not among build.platforms: %v", err)
	}
	_, err = BuildSpec(translate.Input{Project: p}, translate.Image{Ref: "app", Build: config}, images, nil)
	if err == nil || !strings.Contains(err.Error(), "not built yet") {
		t.Errorf("without the base image: %v", err)
	}
	config.Secrets = []types.ServiceSecretConfig{{Source: "away"}}
	_, err = BuildSpec(translate.Input{Project: p}, translate.Image{Ref: "app", Build: config}, images, facts)
	if err == nil || !strings.Contains(err.Error(), `secret "away": it is external`) {
		t.Errorf("an external secret: %v", err)
	}
}

// `berth build` builds for all of build.platforms, which may need an emulator for
// each; what is to run now needs one.
func TestWhatRunsIsBuiltForOnePlatform(t *testing.T) {
	several := []string{"linux/amd64", "linux/arm64"}
	for _, c := range []struct {
		name      string
		platform  string
		platforms []string
		want      []string
	}{
		{"none named", "", nil, nil},
		{"one", "", several[1:], several[1:]},
		{"several", "", several, nil},
		{"that of the service", "linux/arm64", several, several[1:]},
		{"that of the service alone", "linux/arm64", nil, several[1:]},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			p := project("p", svc{Name: "web", Platform: c.platform, Build: &types.BuildConfig{Context: contextDir(t, map[string]string{"main.go": "1"}), Platforms: c.platforms}})
			if _, err := New(w.deps(p)).Up(t.Context(), UpOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := w.built["p-web"].Platforms; !slices.Equal(got, c.want) {
				t.Errorf("built for %v, want %v", got, c.want)
			}
		})
	}
}

// Attestations would make every rebuild a new image.
func TestWhatRunsIsBuiltWithoutAttestations(t *testing.T) {
	w := newWorld(t)
	p := project("p", svc{Name: "web", Build: &types.BuildConfig{Context: contextDir(t, map[string]string{"main.go": "1"}), Provenance: "true", SBOM: "true"}})
	if _, err := New(w.deps(p)).Up(t.Context(), UpOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := w.built["p-web"]; got.Provenance+got.SBOM != "" {
		t.Errorf("built with provenance %q, sbom %q", got.Provenance, got.SBOM)
	}
}

func equalText(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func TestWhatFailedReadsAsASentence(t *testing.T) {
	for want, a := range map[string]Action{
		"the build of image web failed":     {Verb: Build, Image: "web"},
		"db is not healthy":                 {Verb: Wait, Service: "db", Condition: model.WaitHealthy},
		"the apply of db failed":            {Verb: Apply, Service: "db", Object: "Deployment:db"},
		"the apply of the project failed":   {Verb: Apply, Object: "project:shop"},
		"job is not completed successfully": {Verb: Wait, Service: "job", Condition: model.WaitCompleted},
	} {
		if got := a.failure(); got != want {
			t.Errorf("%s: %q, want %q", a, got, want)
		}
	}
}
