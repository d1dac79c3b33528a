package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/testneed"
)

func TestAgainstAPIServer(t *testing.T) {
	c, err := New(testneed.APIServer(t), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]func(*testing.T, *Client){
		"VersionAndReadiness":           testReady,
		"EveryBuiltinKindIsServedSo":    testKinds,
		"UnknownKindsAreDiscovered":     testDiscover,
		"ApplyCreatesThenUpdates":       testApply,
		"ListsArePaged":                 testPages,
		"WatchSeesWhatHappens":          testWatch,
		"WatchGoesOnAfterItsVersionDie": testWatchRelists,
		"WatchSaysThatItGoesOn":         testWatchGoesOn,
		"DeleteOfNothingIsNoError":      testDelete,
		"UnknownFieldsAreRefused":       testStrict,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

func TestUnknownContextSaysWhatToDo(t *testing.T) {
	path := t.TempDir() + "/config"
	if err := os.WriteFile(path, []byte("apiVersion: v1\nkind: Config\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(path, "kind-berth")
	if err == nil || !strings.Contains(err.Error(), `find context "kind-berth"`) || !strings.Contains(problem.Hint(err), "berth cluster create") {
		t.Errorf("error %v, hint %q", err, problem.Hint(err))
	}
}

func TestContextOfNobodysIsNotBerthsToMake(t *testing.T) {
	path := t.TempDir() + "/config"
	config := `{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}], contexts: [{name: staging, context: {cluster: c}}]}`
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(path, "stagin")
	if err == nil || !strings.Contains(err.Error(), `find context "stagin"`) || problem.Hint(err) != "it has: staging" {
		t.Errorf("error %v, hint %q", err, problem.Hint(err))
	}
}

func TestBrokenKubeconfigIsNamed(t *testing.T) {
	path := t.TempDir() + "/config"
	if err := os.WriteFile(path, []byte("contexts: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(path, "kind-berth")
	if err == nil || !strings.Contains(err.Error(), "read the kubeconfig: ") || !strings.Contains(err.Error(), path) || !strings.Contains(problem.Hint(err), "mend the file") {
		t.Errorf("error %v, hint %q", err, problem.Hint(err))
	}
}

func TestUnreachableServerFailsAtOnce(t *testing.T) {
	path := t.TempDir() + "/config"
	config := `{apiVersion: v1, kind: Config, clusters: [{name: kind-x, cluster: {server: "https://127.0.0.1:1"}}], contexts: [{name: kind-x, context: {cluster: kind-x}}]}`
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New(path, "kind-x")
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	_, err = List[corev1.Pod](t.Context(), c, "default", "")
	if err == nil || !strings.HasPrefix(err.Error(), `reach the API server of "kind-x" at https://127.0.0.1:1: dial tcp`) || !strings.Contains(problem.Hint(err), "berth cluster start x") {
		t.Errorf("error %v, hint %q", err, problem.Hint(err))
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func testReady(t *testing.T, c *Client) {
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if v, err := c.Version(t.Context()); err != nil || !strings.HasPrefix(v, "v1.") {
		t.Errorf("version %q, %v", v, err)
	}
}

func testKinds(t *testing.T, c *Client) {
	for gk, want := range builtinKinds() {
		got, err := c.discover(t.Context(), gk)
		if err != nil || got.Plural != want.Plural || got.Namespaced != want.Namespaced {
			t.Errorf("%s: %+v, %v; want %+v", gk, got, err, want)
		}
	}
}

func testDiscover(t *testing.T, c *Client) {
	r, err := c.Resource(t.Context(), schema.GroupKind{Group: "apiregistration.k8s.io", Kind: "APIService"})
	if err != nil || r.Plural != "apiservices" || r.Namespaced {
		t.Errorf("%+v, %v", r, err)
	}
	var unknown *meta.NoKindMatchError
	for _, gk := range []schema.GroupKind{{Group: "nosuch.berth.dev", Kind: "Widget"}, {Kind: "Widget"}} {
		if _, err := c.Resource(t.Context(), gk); !errors.As(err, &unknown) {
			t.Errorf("%s: %v", gk, err)
		}
	}
}

func apply(t *testing.T, c *Client, obj model.Object) (version string, created bool) {
	t.Helper()
	m, err := c.Manifest(t.Context(), obj)
	if err != nil {
		t.Fatal(err)
	}
	live, created, err := c.Apply(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return live.GetResourceVersion(), created
}

func config(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"test": name[:3]}}, Data: map[string]string{"v": value}}
}

func testApply(t *testing.T, c *Client) {
	first, created := apply(t, c, config("apply", "1"))
	again, createdAgain := apply(t, c, config("apply", "1"))
	if !created || createdAgain || first != again {
		t.Errorf("created %v then %v, version %s then %s", created, createdAgain, first, again)
	}
	if changed, _ := apply(t, c, config("apply", "2")); changed == first {
		t.Error("a change left the version alone")
	}
	got, err := Get[corev1.ConfigMap](t.Context(), c, "default", "apply")
	if err != nil || got.Data["v"] != "2" {
		t.Errorf("%v, %v", got, err)
	}
	if _, _, err := c.Apply(t.Context(), manifest(t, c, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "berth-kube-test"}})); err != nil {
		t.Error(err)
	}
}

func testPages(t *testing.T, c *Client) {
	const n = 2*page + 7
	for i := range n {
		if _, err := c.Create(t.Context(), manifest(t, c, config(fmt.Sprintf("page-%d", i), "1"))); err != nil {
			t.Fatal(err)
		}
	}
	typed, err := List[corev1.ConfigMap](t.Context(), c, "default", "test=pag")
	if err != nil || len(typed) != n {
		t.Errorf("%d objects, %v", len(typed), err)
	}
	any, err := c.ListAny(t.Context(), schema.GroupKind{Kind: "ConfigMap"}, "", "test=pag")
	if err != nil || len(any) != n || any[0].GetKind() != "ConfigMap" {
		t.Errorf("%d objects, %v", len(any), err)
	}
}

// seen collects a watch's changes as text.
func seen(ctx context.Context, c *Client, selector string) <-chan string {
	changes := make(chan string, 100)
	go func() {
		defer close(changes)
		_ = Watch(ctx, c, "default", selector, func(ch Change[*corev1.ConfigMap]) {
			switch {
			case ch.Err != nil:
			case ch.Synced:
				changes <- "synced"
			case ch.Deleted:
				changes <- "deleted " + ch.Object.Name
			default:
				changes <- ch.Object.Name + "=" + ch.Object.Data["v"]
			}
		})
	}()
	return changes
}

func expect(t *testing.T, changes <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-changes:
			if got != w {
				t.Fatalf("saw %q, want %q", got, w)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("never saw %q", w)
		}
	}
}

func testWatch(t *testing.T, c *Client) {
	ctx, cancel := context.WithCancel(t.Context())
	apply(t, c, config("watch", "1"))
	changes := seen(ctx, c, "test=wat")
	expect(t, changes, "watch=1", "synced")
	apply(t, c, config("watch", "2"))
	expect(t, changes, "watch=2")
	if err := c.Delete(ctx, model.ObjectKey{Kind: "ConfigMap", Namespace: "default", Name: "watch"}, DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, changes, "deleted watch")
	cancel()
	for range changes { // until it has ended
	}
}

// testWatchGoesOn breaks the connection of a watch: it says so, and that it
// goes on, without a list.
func testWatchGoesOn(t *testing.T, c *Client) {
	way := newCut(t, strings.TrimPrefix(c.Server(), "https://"))
	redirected := rest.CopyConfig(c.config)
	redirected.Host = "https://" + way.listener.Addr().String()
	through, err := newClient(redirected, "")
	if err != nil {
		t.Fatal(err)
	}
	apply(t, c, config("cut-1", "1"))
	changes := seen(t.Context(), through, "test=cut")
	expect(t, changes, "cut-1=1", "synced")
	apply(t, c, config("cut-1", "2"))
	expect(t, changes, "cut-1=2") // the watch stands, and not only the list
	way.now()
	expect(t, changes, "synced")
	apply(t, c, config("cut-2", "1"))
	expect(t, changes, "cut-2=1")
}

// testWatchRelists makes a watch go on from a version that no longer exists:
// it must list again and notice what vanished meanwhile.
func testWatchRelists(t *testing.T, c *Client) {
	var got []string
	w := &watcher[corev1.ConfigMap, *corev1.ConfigMap]{client: c, key: model.ObjectKey{Kind: "ConfigMap", Namespace: "default"}, selector: "test=rel",
		known: map[types.UID]*corev1.ConfigMap{"gone": {ObjectMeta: metav1.ObjectMeta{Name: "rel-gone", UID: "gone"}}}, version: "1",
		handle: func(ch Change[*corev1.ConfigMap]) {
			if ch.Deleted {
				got = append(got, "deleted "+ch.Object.Name)
			} else if ch.Object != nil {
				got = append(got, ch.Object.Name)
			}
		}}
	apply(t, c, config("rel-here", "1"))
	if err := w.list(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, ",") != "rel-here,deleted rel-gone" || w.version == "1" {
		t.Errorf("saw %v, version %s", got, w.version)
	}
}

func testDelete(t *testing.T, c *Client) {
	key := model.ObjectKey{Kind: "ConfigMap", Namespace: "default", Name: "nosuch"}
	if err := c.Delete(t.Context(), key, DeleteOptions{}); err != nil {
		t.Error(err)
	}
	apply(t, c, config("incarnation", "1"))
	key.Name = "incarnation"
	if err := c.Delete(t.Context(), key, DeleteOptions{UID: "another"}); err != nil {
		t.Error(err)
	}
	if _, err := c.GetAny(t.Context(), key); err != nil {
		t.Errorf("another incarnation was deleted: %v", err)
	}
}

func testStrict(t *testing.T, c *Client) {
	m := manifest(t, c, config("strict", "1"))
	m.Object["nosuchfield"] = "x"
	if _, _, err := c.Apply(t.Context(), m); err == nil || !strings.Contains(err.Error(), "nosuchfield") {
		t.Errorf("error %v", err)
	}
}

func manifest(t *testing.T, c *Client, obj model.Object) *unstructured.Unstructured {
	t.Helper()
	m, err := c.Manifest(t.Context(), obj)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
