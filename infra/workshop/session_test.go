package workshop

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/kube"
)

// An api is a Kubernetes API of objects by path: they can be applied, read,
// listed and deleted, and accounts get tokens.
type api struct {
	mu      sync.Mutex
	objects map[string]map[string]any
	tokens  int
}

const namespaces = "/api/v1/namespaces"

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	have, found := a.objects[r.URL.Path]
	var answer any = have
	switch {
	case r.Method == http.MethodPatch:
		answer = a.apply(r)
	case r.Method == http.MethodGet && (strings.HasSuffix(r.URL.Path, "namespaces") || strings.HasSuffix(r.URL.Path, "nodes")):
		answer = map[string]any{"metadata": map[string]any{}, "items": a.list(r)}
	case !found:
		w.WriteHeader(http.StatusNotFound)
		answer = map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
	case r.Method == http.MethodDelete:
		for path := range a.objects {
			if path == r.URL.Path || strings.HasPrefix(path, r.URL.Path+"/") {
				delete(a.objects, path)
			}
		}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (a *api) apply(r *http.Request) any {
	raw, _ := io.ReadAll(r.Body)
	var object map[string]any
	_ = json.Unmarshal(raw, &object)
	if have, found := a.objects[r.URL.Path]; found {
		return have
	}
	if object["kind"] == "Secret" {
		a.tokens++
		object["data"] = map[string]any{"token": base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "token-%d", a.tokens))}
	}
	a.objects[r.URL.Path] = object
	return object
}

func (a *api) list(r *http.Request) []any {
	all := []any{}
	for path, o := range a.objects {
		rest, below := strings.CutPrefix(path, r.URL.Path+"/")
		labels, _ := o["metadata"].(map[string]any)["labels"].(map[string]any)
		_, chosen := labels[r.URL.Query().Get("labelSelector")]
		if below && !strings.Contains(rest, "/") && (chosen || r.URL.Query().Get("labelSelector") == "") {
			all = append(all, o)
		}
	}
	return all
}

func (a *api) has(path string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, found := a.objects[path]
	return found
}

// cluster keeps checkpoints in a list, and notes what was asked of it.
type cluster struct {
	names, log []string
	stopped    error
}

func (c *cluster) Running(context.Context) error { return c.stopped }

func (c *cluster) SaveCheckpoint(_ context.Context, name string) error {
	c.log = append(c.log, "save "+name)
	if !slices.Contains(c.names, name) {
		c.names = append(c.names, name)
	}
	return nil
}

func (c *cluster) RestoreCheckpoint(_ context.Context, name string) error {
	c.log = append(c.log, "restore "+name)
	if !slices.Contains(c.names, name) {
		return errors.New("there is none")
	}
	return nil
}

func (c *cluster) DeleteCheckpoints(_ context.Context, prefix string) error {
	c.log = append(c.log, "delete "+prefix)
	c.names = slices.DeleteFunc(c.names, func(n string) bool { return strings.HasPrefix(n, prefix) })
	return nil
}

// A course is a started workshop on a cluster that is not real.
type course struct {
	t       *testing.T
	api     *api
	cluster *cluster
	run     Run
	options Options
}

// begin starts the workshop "course" with so many learners (0: one alone) and
// the given files.
func begin(t *testing.T, learners int, files string) *course {
	t.Helper()
	c := &course{t: t, cluster: &cluster{}, api: &api{objects: map[string]map[string]any{
		"/api/v1/nodes/n":           {"metadata": map[string]any{"name": "n"}, "spec": map[string]any{"podCIDR": "10.244.0.0/24"}},
		namespaces + "/kube-system": {"metadata": map[string]any{"name": "kube-system", "uid": "one"}},
	}}}
	dir := folder(t, files)
	server := httptest.NewServer(c.api)
	t.Cleanup(server.Close)
	admin := []byte("{apiVersion: v1, kind: Config, current-context: kind-c, contexts: [{name: kind-c, context: {cluster: c, user: admin}}],\n" +
		"clusters: [{name: c, cluster: {server: \"" + server.URL + "\"}}], users: [{name: admin, user: {}}]}")
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(kubeconfig, admin, 0o600))
	client, err := kube.New(kubeconfig, "")
	must(t, err)
	w, err := Read(dir)
	must(t, err)
	c.run = NewRun(w, learners, func() string { return "token" })
	c.options = Options{Store: NewStore(t.TempDir()), Kube: client, Cluster: c.cluster, Env: os.Environ(), Now: time.Now}
	must(t, c.options.Store.Save(c.run))
	for _, l := range c.run.Learners {
		must(t, Admit(t.Context(), c.run, l, admin, c.options))
	}
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *course) session(learner string) *Session {
	c.t.Helper()
	s, err := NewSession(c.run, learner, c.options)
	must(c.t, err)
	return s
}

func silent(string) {}

// logged is what the steps' programs wrote, in the order they ran.
func (c *course) logged() string {
	raw, err := os.ReadFile(filepath.Join(c.run.Dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(raw)), " ")
}

const twoCheckpoints = `-- workshop.yaml --
name: course
title: T
steps:
  - {dir: one, title: One, reset: checkpoint}
  - {dir: two, title: Two, reset: checkpoint}
-- one/step.md --
# One
-- two/step.md --
# Two
`

func TestACheckpointIsOfTheBeginningOfItsStep(t *testing.T) {
	c := begin(t, 0, twoCheckpoints)
	s := c.session("")
	ctx := t.Context()
	must(t, s.Enter(ctx, -1, silent))
	next := func() {
		t.Helper()
		if _, moved, err := s.Next(ctx, silent); err != nil || !moved {
			t.Fatalf("%v, %v", moved, err)
		}
	}
	next()
	must(t, s.Back(ctx))
	next() // what was done in step 2 is there now: its checkpoint stays
	must(t, s.Reset(ctx, silent))
	must(t, s.Back(ctx))
	must(t, s.Reset(ctx, silent))
	next() // from another end of step 1 than before
	must(t, s.Reset(ctx, silent))
	want := []string{"save course-step-1", "save course-step-2", "restore course-step-2", "restore course-step-1", "save course-step-2", "restore course-step-2"}
	if !slices.Equal(c.cluster.log, want) {
		t.Errorf("%q\nwant %q", c.cluster.log, want)
	}
	must(t, Stop(ctx, c.run, c.options, silent))
	if len(c.cluster.names) > 0 {
		t.Errorf("stop leaves %q", c.cluster.names)
	}
}

// The learner stops the engine or the cluster, and starts it again.
func TestAStoppedClusterIsNoWrongAnswer(t *testing.T) {
	c := begin(t, 0, `-- workshop.yaml --
name: course
title: T
steps:
  - {dir: one, title: One}
  - {dir: two, title: Two}
-- one/step.md --
# One
-- one/check --
#!/bin/sh
echo check >> ../log
-- one/solve --
#!/bin/sh
echo solve >> ../log
-- two/step.md --
# Two
`)
	s := c.session("")
	must(t, s.Begin(t.Context(), 0, silent))
	c.cluster.stopped = errors.New("all nodes are stopped")
	for verb, act := range map[string]func() error{
		"check": func() error { _, err := s.Check(t.Context(), silent); return err },
		"solve": func() error { _, err := s.Solve(t.Context(), silent); return err },
		"next":  func() error { _, _, err := s.Next(t.Context(), silent); return err },
	} {
		if err := act(); !errors.Is(err, c.cluster.stopped) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if p, err := s.Progress(); err != nil || p.Last != nil || p.Step != 0 || c.logged() != "" {
		t.Errorf("progress %+v, %v; programs that ran: %s", p, err, c.logged())
	}
	c.cluster.stopped = nil
	if _, moved, err := s.Next(t.Context(), silent); err != nil || !moved || c.logged() != "check" {
		t.Errorf("it does not go on: %v, %v, %s", moved, err, c.logged())
	}
}

func TestAConfinedLearnerHasNoCheckpoints(t *testing.T) {
	c := begin(t, 2, twoCheckpoints+"-- two/cleanup --\n#!/bin/sh\n")
	s := c.session("learner-1")
	must(t, s.Enter(t.Context(), -1, silent))
	if err := s.Reset(t.Context(), silent); err == nil || !strings.Contains(err.Error(), "which others share, and has no program cleanup") {
		t.Errorf("reset says %v", err)
	}
	must(t, s.Enter(t.Context(), 1, silent))
	must(t, s.Reset(t.Context(), silent)) // this one has
	if len(c.cluster.log) > 0 {
		t.Errorf("the cluster was asked to %q", c.cluster.log)
	}
}

const clusterSteps = `-- workshop.yaml --
name: course
title: T
steps:
  - {dir: one, title: One, scope: cluster}
  - {dir: two, title: Two, scope: cluster}
  - {dir: three, title: Three, scope: cluster}
-- one/step.md --
# One
-- one/cleanup --
#!/bin/sh
echo one >> ../log
-- two/step.md --
# Two
-- two/cleanup --
#!/bin/sh
echo two >> ../log
-- two/solve --
#!/bin/sh
echo solved >> ../log
-- three/step.md --
# Three
-- three/cleanup --
#!/bin/sh
echo three >> ../log
`

func TestStopTakesBackWhatWasReached(t *testing.T) {
	for name, tc := range map[string]struct {
		enter, back int
		want        string
	}{
		"at the first step":       {0, 0, "one"},
		"at the last":             {2, 0, "solved three two one"},
		"back from the last":      {2, 2, "solved three two one"},
		"back from the second":    {1, 1, "two one"},
		"without having gone far": {1, 0, "two one"},
	} {
		t.Run(name, func(t *testing.T) {
			c := begin(t, 0, clusterSteps)
			s := c.session("")
			must(t, s.Enter(t.Context(), tc.enter, silent))
			for range tc.back {
				must(t, s.Back(t.Context()))
			}
			must(t, Stop(t.Context(), c.run, c.options, silent))
			if got := c.logged(); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestStopLeavesARunningCheckAlone(t *testing.T) {
	c := begin(t, 2, clusterSteps)
	release, err := c.options.Store.Lock(t.Context(), c.run.Name, "learner-2") // a check goes on
	must(t, err)
	if err := Stop(t.Context(), c.run, c.options, silent); err == nil || !strings.Contains(err.Error(), "learner-2: work on this step") {
		t.Errorf("it says %v", err)
	}
	if !c.api.has(namespaces + "/" + c.run.Learners[0].Namespace) {
		t.Error("half of it is gone")
	}
	must(t, release())
	must(t, Stop(t.Context(), c.run, c.options, silent))
}

func TestAWorkshopIsStoppedWithoutItsFolder(t *testing.T) {
	c := begin(t, 0, clusterSteps)
	must(t, c.session("").Enter(t.Context(), -1, silent))
	must(t, os.RemoveAll(c.run.Dir))
	var said []string
	must(t, Stop(t.Context(), c.run, c.options, func(line string) { said = append(said, line) }))
	if text := strings.Join(said, "\n"); !strings.Contains(text, "folder "+c.run.Dir+" is gone") {
		t.Errorf("it says %s", text)
	}
	if c.api.has(namespaces + "/course") {
		t.Error("its namespace is still there")
	}
	if _, err := c.options.Store.Load("course"); err == nil {
		t.Error("it is still started")
	}
}

func TestEnterGoesOnAndNeverBack(t *testing.T) {
	c := begin(t, 0, clusterSteps)
	s := c.session("")
	at := func(want int) {
		t.Helper()
		if p, err := s.Progress(); err != nil || p.Step != want {
			t.Errorf("step %d, %v, want %d", p.Step, err, want)
		}
	}
	must(t, s.Enter(t.Context(), 1, silent))
	at(1)
	must(t, s.Enter(t.Context(), -1, silent)) // started again
	at(1)
	must(t, s.Enter(t.Context(), 2, silent))
	at(2)
	if err := s.Enter(t.Context(), 0, silent); err == nil || !strings.Contains(err.Error(), "step 3 is reached already") {
		t.Errorf("it says %v", err)
	}
	at(2)
}

func TestTheFencesGoWithTheLastWorkshop(t *testing.T) {
	const fence = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/berth-workshop-hosts"
	c := begin(t, 1, clusterSteps)
	other := Learner{Name: "learner-1", Namespace: "other-learner-1", Domain: "learner-1.other.localhost", Confined: true}
	must(t, EnsureNamespace(t.Context(), c.options.Kube, "other", other))
	must(t, Stop(t.Context(), c.run, c.options, silent))
	if !c.api.has(fence) {
		t.Error("another workshop's learners have lost their fences")
	}
	must(t, DeleteNamespace(t.Context(), c.options.Kube, other))
	must(t, DeleteFences(t.Context(), c.options.Kube))
	if c.api.has(fence) {
		t.Error("the fences are still there")
	}
}

func TestLearnersOfTwoWorkshopsHaveHostsOfTheirOwn(t *testing.T) {
	none := func() string { return "" }
	a, b := NewRun(Workshop{Name: "a"}, 1, none), NewRun(Workshop{Name: "b"}, 1, none)
	if a.Learners[0].Domain == b.Learners[0].Domain {
		t.Errorf("both have %s", a.Learners[0].Domain)
	}
}

func TestANamespaceMadeAnewComesWithItsToken(t *testing.T) {
	c := begin(t, 1, clusterSteps)
	s := c.session("learner-1")
	must(t, s.Enter(t.Context(), -1, silent))
	path := c.options.Store.Kubeconfig("course", "learner-1")
	read := func() string {
		t.Helper()
		raw, err := os.ReadFile(path)
		must(t, err)
		return string(raw)
	}
	before, info := read(), must1(os.Stat(path))
	must(t, s.Reset(t.Context(), silent))
	if again := must1(os.Stat(path)); !strings.Contains(before, "token-1") || !os.SameFile(info, again) {
		t.Errorf("it is written without need:\n%s", read())
	}
	must(t, DeleteNamespace(t.Context(), c.options.Kube, c.run.Learners[0]))
	must(t, s.Reset(t.Context(), silent))
	if after := read(); after != strings.ReplaceAll(before, "token-1", "token-2") {
		t.Errorf("the kubeconfig is\n%s", after)
	}
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAClusterMadeAnewIsNoticed(t *testing.T) {
	c := begin(t, 0, clusterSteps)
	id, err := ClusterID(t.Context(), c.options.Kube)
	must(t, err)
	for name, tc := range map[string]struct {
		was  string
		same bool
	}{"the same": {id, true}, "another": {"two", false}, "not known": {"", true}} {
		run := c.run
		run.ClusterID, run.Cluster = tc.was, "berth"
		err := SameCluster(run, id)
		if (err == nil) != tc.same || err != nil && !strings.Contains(err.Error(), `cluster "berth" was made anew since`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
