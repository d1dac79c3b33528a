package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// api is one real API server that all cases below share, each in a namespace
// of its own.
type api struct{ client *kube.Client }

func TestAgainstAPIServer(t *testing.T) {
	client, err := kube.New(testneed.APIServer(t), "")
	if err != nil {
		t.Fatal(err)
	}
	a := api{client}
	for name, test := range map[string]func(*testing.T, api){
		"FirstApplyCreatesSecondLeavesAlone":        testCreateAndUnchanged,
		"ChangedObjectIsUpdatedOthersAreNot":        testUpdate,
		"DroppedFieldIsRemoved":                     testDroppedField,
		"DriftIsUndone":                             testDrift,
		"AnotherManagersFieldIsTakenOver":           testConflict,
		"PruneDeletesWhatIsNoLongerWanted":          testPrune,
		"PruneKeepsVolumesAndRollbackConfigs":       testPruneKeeps,
		"PruneDropsCredentialsOfEarlierRevisions":   testPruneCredentials,
		"JobIsMadeAnewWhenItChanges":                testJobChanged,
		"FailedJobIsMadeAnew":                       testJobFailed,
		"ServiceIsMadeAnewWhenItsAddressChanges":    testServiceAddress,
		"ImmutableFieldIsAClearError":               testImmutable,
		"TerminatingNamespaceIsWaitedFor":           testTerminating,
		"ForeignNamespaceStaysAsItIs":               testForeignNamespace,
		"DeleteKeepsVolumesUnlessAsked":             testDelete,
		"DeleteRemovesClusterWideObjects":           testDeleteClusterWide,
		"DefinitionsComeBeforeTheirObjects":         testDefinitions,
		"StoppedServiceStartsAgain":                 testStopStart,
		"CronJobIsThereAtOnceAndCanBeStopped":       testCronJob,
		"CreatedServiceRunsWhenItIsStarted":         testCreate,
		"EndedJobRunsAgainWhenItIsStarted":          testStartEnded,
		"StoppedServiceStartsWithApply":             testStopApply,
		"RollbackBringsBackAndApplyGoesForward":     testRollback,
		"RestartChangesOnlyTheTemplate":             testRestart,
		"TwoAppliesAtOnceRecordAllKinds":            testConcurrent,
		"ThirtyUnchangedObjectsTakeLittleTime":      testThirty,
		"AThousandObjectsApplyInReasonableTime":     testThousand,
		"RefusedObjectsAreAllReported":              testAllErrors,
		"ProjectsAreListed":                         testList,
		"FinishedServiceDoesNotRunAgainUntilChange": testFinished,
		"RefusedDefinitionStartsNothing":            testRefusedStaysStopped,
		"TwoProjectsDoNotShareANamespace":           testOtherProject,
		"ForeignObjectsAreLeftAlone":                testForeignObject,
		"PruneKeepsWhatKeptServicesNeed":            testPruneKeepsServices,
		"AnIngressThatIsPatientAllowsSwapsAtOnce":   testPatientlyServed,
		"DeleteServicesTakesWhatOnlyTheyNeed":       testDeleteServices,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, a) })
	}
}

// project makes a project in a namespace called after the test.
func (a api) project(t *testing.T) *Project {
	t.Helper()
	_, name, _ := strings.Cut(t.Name(), "/")
	name = strings.ToLower(name)
	return New(a.client, name, name, progress.Discard)
}

func deployment(name, image string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{model.LabelService: name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: name, Image: image, Env: []corev1.EnvVar{{Name: "A", Value: "1"}},
					Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi"), corev1.ResourceCPU: resource.MustParse("0.5")}}}},
			}},
		},
	}
}

func service(name string, headless bool) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{model.LabelService: name}},
		Spec: corev1.ServiceSpec{Selector: map[string]string{model.LabelService: name}, PublishNotReadyAddresses: true}}
	if headless {
		s.Spec.ClusterIP = corev1.ClusterIPNone
	} else {
		s.Spec.Ports = []corev1.ServicePort{{Name: "tcp-80", Port: 80}}
	}
	return s
}

func configMap(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"value": value}}
}

func claim(name, size string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
	}}
}

func job(name, image string) *batchv1.Job {
	labels := map[string]string{model.LabelService: name}
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: batchv1.JobSpec{
		BackoffLimit: new(int32),
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: name, Image: image}}}},
	}}
}

// namespace is the object that a translation begins with.
func namespace(p *Project) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.namespace, Labels: map[string]string{model.LabelManagedBy: model.ManagedBy}}}
}

func mustApply(t *testing.T, p *Project, objects ...model.Object) string {
	t.Helper()
	changes, err := p.Apply(t.Context(), objects)
	if err != nil {
		t.Fatal(err)
	}
	return text(changes)
}

// text is a change set as one line.
func text(changes model.ChangeSet) string {
	var parts []string
	for _, c := range changes {
		parts = append(parts, fmt.Sprintf("%s %s", c.Key, c.Verb))
	}
	return strings.Join(parts, ", ")
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// versions are the resource versions of everything the project has.
func versions(t *testing.T, p *Project) map[model.ObjectKey]string {
	t.Helper()
	members, err := p.members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[model.ObjectKey]string{}
	for _, m := range members {
		// What Kubernetes' own controllers write is not ours to compare.
		all[m.key] = fmt.Sprint(m.live.GetGeneration(), m.live.GetUID(), m.live.GetAnnotations()[annotationHash])
	}
	return all
}

func testCreateAndUnchanged(t *testing.T, a api) {
	p := a.project(t)
	objects := []model.Object{namespace(p), deployment("web", "web:1", 2), service("web", false), service("worker", true), configMap("c", "1"), claim("data", "1Gi"), job("migrate", "web:1")}
	equal(t, "first apply", mustApply(t, p, objects...),
		"Namespace/"+p.namespace+" created, Service/web created, Service/worker created, ConfigMap/c created, PersistentVolumeClaim/data created, Deployment/web created, Job/migrate created")
	before := versions(t, p)
	second := mustApply(t, p, objects...)
	if strings.Contains(second, "updated") || strings.Contains(second, "created") {
		t.Errorf("second apply changed something: %s", second)
	}
	for key, version := range versions(t, p) {
		if before[key] != version {
			t.Errorf("%s changed from %s to %s", key, before[key], version)
		}
	}
	parent, err := kube.Get[corev1.ConfigMap](t.Context(), a.client, p.namespace, inventoryName)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "kinds of the inventory", parent.Annotations[annotationKinds], "ConfigMap,Deployment.apps,Job.batch,PersistentVolumeClaim,Service")
	equal(t, "id of the inventory", parent.Labels[labelSetID], p.setID())
}

func testUpdate(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, deployment("web", "web:1", 1), deployment("db", "db:1", 1))
	equal(t, "changes", mustApply(t, p, deployment("web", "web:2", 1), deployment("db", "db:1", 1)), "Deployment/web updated, Deployment/db unchanged")
	d, err := kube.Get[appsv1.Deployment](t.Context(), a.client, p.namespace, "web")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "image", d.Spec.Template.Spec.Containers[0].Image, "web:2")
}

func testDroppedField(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, deployment("web", "web:1", 1))
	d := deployment("web", "web:1", 1)
	d.Spec.Template.Spec.Containers[0].Env = nil
	equal(t, "changes", mustApply(t, p, d), "Deployment/web updated")
	live, err := kube.Get[appsv1.Deployment](t.Context(), a.client, p.namespace, "web")
	if err != nil {
		t.Fatal(err)
	}
	if env := live.Spec.Template.Spec.Containers[0].Env; len(env) != 0 {
		t.Errorf("environment is still %v", env)
	}
}

func testDrift(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, deployment("web", "web:1", 1))
	if err := p.Scale(t.Context(), "web", 5); err != nil {
		t.Fatal(err)
	}
	equal(t, "changes", mustApply(t, p, deployment("web", "web:1", 1)), "Deployment/web updated")
	live, err := kube.Get[appsv1.Deployment](t.Context(), a.client, p.namespace, "web")
	if err != nil {
		t.Fatal(err)
	}
	if *live.Spec.Replicas != 1 {
		t.Errorf("replicas are %d", *live.Spec.Replicas)
	}
}

func testConflict(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, configMap("c", "ours"))
	patch := []byte(`{"data":{"value":"theirs","extra":"stays"}}`)
	key := model.ObjectKey{Kind: "ConfigMap", Namespace: p.namespace, Name: "c"}
	if err := a.client.Patch(t.Context(), key, "", types.MergePatchType, patch); err != nil {
		t.Fatal(err)
	}
	equal(t, "changes", mustApply(t, p, configMap("c", "ours")), "ConfigMap/c updated")
	live, err := kube.Get[corev1.ConfigMap](t.Context(), a.client, p.namespace, "c")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "data", fmt.Sprint(live.Data), "map[extra:stays value:ours]")
}

func testPrune(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, deployment("web", "web:1", 1), service("web", false), deployment("old", "old:1", 1), service("old", true), deployment("other", "o:1", 1), configMap("c", "1"))
	keep := []model.ObjectKey{{Group: "apps", Kind: "Deployment", Name: "web"}, {Kind: "Service", Name: "web"}}
	changes, err := p.Prune(t.Context(), keep, []string{"other"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "changes", text(changes), "Deployment/old deleted, ConfigMap/c deleted, Service/old deleted")
	members, err := p.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "left", fmt.Sprint(members), "[Deployment/other Deployment/web Service/web]")
}

func testPruneKeeps(t *testing.T, a api) {
	p := a.project(t)
	using := func(config string) *appsv1.Deployment {
		d := deployment("web", "web:1", 1)
		d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: config}}}}}
		return d
	}
	mustApply(t, p, claim("data", "1Gi"), configMap("conf-1", "1"), configMap("unused", "1"), using("conf-1"))
	a.eventually(t, "a first revision", func(ctx context.Context) bool {
		r, err := p.Revisions(ctx, "web")
		return err == nil && len(r) == 1
	})
	mustApply(t, p, claim("data", "1Gi"), configMap("conf-2", "2"), using("conf-2"))
	keep := []model.ObjectKey{{Group: "apps", Kind: "Deployment", Name: "web"}, {Kind: "ConfigMap", Name: "conf-2"}}
	changes, err := p.Prune(t.Context(), keep, nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "changes", text(changes), "ConfigMap/unused deleted")
}

// Credentials that the project does not have any more do not stay for the sake of
// earlier revisions; those that a service needs that stays, do.
func testPruneCredentials(t *testing.T, a api) {
	p := a.project(t)
	pulling := func(name string, secrets ...string) *appsv1.Deployment {
		d := deployment(name, "web:1", 1)
		for _, s := range secrets {
			d.Spec.Template.Spec.ImagePullSecrets = append(d.Spec.Template.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
		}
		return d
	}
	secret := func(name string) *corev1.Secret {
		return &corev1.Secret{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Name: name},
			Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte("{}")},
		}
	}
	mustApply(t, p, secret("pull"), secret("needed"), pulling("web", "pull", "needed"), pulling("other", "needed"))
	a.eventually(t, "a first revision", func(ctx context.Context) bool {
		r, err := p.Revisions(ctx, "web")
		return err == nil && len(r) == 1
	})
	mustApply(t, p, pulling("web"))
	changes, err := p.Prune(t.Context(), []model.ObjectKey{{Group: "apps", Kind: "Deployment", Name: "web"}}, []string{"other"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "changes", text(changes), "Secret/pull deleted")
}

func testJobChanged(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, job("migrate", "web:1"))
	first, err := kube.Get[batchv1.Job](t.Context(), a.client, p.namespace, "migrate")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "changes", mustApply(t, p, job("migrate", "web:2")), "Job/migrate updated")
	second, err := kube.Get[batchv1.Job](t.Context(), a.client, p.namespace, "migrate")
	if err != nil {
		t.Fatal(err)
	}
	if first.UID == second.UID || second.Spec.Template.Spec.Containers[0].Image != "web:2" {
		t.Errorf("the Job was not made anew: %s, %s", second.UID, second.Spec.Template.Spec.Containers[0].Image)
	}
}

func testJobFailed(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, job("migrate", "web:1"))
	var pod *corev1.Pod
	a.eventually(t, "the Job's pod", func(ctx context.Context) bool {
		pods, err := kube.List[corev1.Pod](ctx, a.client, p.namespace, model.LabelService+"=migrate")
		if err == nil && len(pods) == 1 {
			pod = &pods[0]
		}
		return pod != nil
	})
	key := model.ObjectKey{Kind: "Pod", Namespace: p.namespace, Name: pod.Name}
	failed := []byte(`{"status":{"phase":"Failed","containerStatuses":[{"name":"migrate","image":"web:1","imageID":"","ready":false,"restartCount":0,"state":{"terminated":{"exitCode":3,"reason":"Error"}}}]}}`)
	if err := a.client.Patch(t.Context(), key, "status", types.MergePatchType, failed); err != nil {
		t.Fatal(err)
	}
	err := p.Wait(withTimeout(t, 30*time.Second), "migrate", model.WaitCompleted, progress.Discard)
	if err == nil || !strings.Contains(err.Error(), `container "migrate" of pod "`+pod.Name+`" ended with exit code 3 (Error)`) {
		t.Fatalf("wait: %v", err)
	}
	a.eventually(t, "the failed Job", func(ctx context.Context) bool {
		j, err := kube.Get[batchv1.Job](ctx, a.client, p.namespace, "migrate")
		return err == nil && jobCondition(j, batchv1.JobFailed) != nil
	})
	equal(t, "changes", mustApply(t, p, job("migrate", "web:1")), "Job/migrate updated")
}

func testServiceAddress(t *testing.T, a api) {
	p := a.project(t)
	for _, headless := range []bool{true, false, true} {
		mustApply(t, p, service("web", headless))
		live, err := kube.Get[corev1.Service](t.Context(), a.client, p.namespace, "web")
		if err != nil {
			t.Fatal(err)
		}
		if got := live.Spec.ClusterIP == corev1.ClusterIPNone; got != headless {
			t.Errorf("headless is %v, want %v", got, headless)
		}
	}
}

func testImmutable(t *testing.T, a api) {
	p := a.project(t)
	set := func(service string) *appsv1.StatefulSet {
		labels := map[string]string{model.LabelService: "db"}
		return &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "db", Labels: labels}, Spec: appsv1.StatefulSetSpec{
			ServiceName: service, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "db", Image: "db:1"}}}}}}
	}
	other := deployment("web", "web:1", 1)
	other.Spec.Selector.MatchLabels = map[string]string{"a": "b"}
	other.Spec.Template.Labels = map[string]string{"a": "b"}
	for _, c := range []struct {
		name          string
		first, second model.Object
		what, hint    string
	}{
		{"selector", deployment("web", "web:1", 1), other, `apply Deployment "web"`, "berth down"},
		{"volume", claim("data", "2Gi"), claim("data", "1Gi"), `apply PersistentVolumeClaim "data"`, "berth down --volumes"},
		{"statefulset", set("a"), set("b"), `apply StatefulSet "db"`, "berth down"},
	} {
		mustApply(t, p, c.first)
		_, err := p.Apply(t.Context(), []model.Object{c.second})
		if err == nil || !strings.Contains(err.Error(), c.what) || !strings.Contains(problem.Hint(err), c.hint) {
			t.Errorf("%s: error %v, hint %q", c.name, err, problem.Hint(err))
		}
	}
}

func testTerminating(t *testing.T, a api) {
	p := a.project(t)
	held := configMap("c", "1")
	held.Finalizers = []string{"berth.dev/test"}
	mustApply(t, p, held)
	if err := a.client.Delete(t.Context(), model.ObjectKey{Kind: "Namespace", Name: p.namespace}, kube.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1000)
	var once sync.Once
	p.sink = progress.SinkFunc(func(e progress.Event) {
		said <- e.Text
		once.Do(func() { // it waits: now let the namespace go
			key := model.ObjectKey{Kind: "ConfigMap", Namespace: p.namespace, Name: "c"}
			if err := a.client.Patch(context.WithoutCancel(t.Context()), key, "", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
				t.Error(err)
			}
		})
	})
	equal(t, "changes", mustApply(t, p, configMap("d", "1")), "ConfigMap/d created")
	if first := <-said; !strings.Contains(first, "being deleted; waiting until it is gone") {
		t.Errorf("it said %q", first)
	}
}

func testForeignNamespace(t *testing.T, a api) {
	p := a.project(t)
	m, err := a.client.Manifest(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.namespace}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.client.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	equal(t, "changes", mustApply(t, p, namespace(p), configMap("c", "1")), "Namespace/"+p.namespace+" unchanged, ConfigMap/c created")
	if _, err := p.Delete(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	ns, err := kube.Get[corev1.Namespace](t.Context(), a.client, "", p.namespace)
	if err != nil || ns.DeletionTimestamp != nil || ns.Labels[model.LabelManagedBy] != "" {
		t.Errorf("the namespace was touched: %v, %v", ns, err)
	}
	if members, err := p.Members(t.Context()); err != nil || len(members) != 0 {
		t.Errorf("left: %v, %v", members, err)
	}
}

func testDelete(t *testing.T, a api) {
	p := a.project(t)
	objects := []model.Object{namespace(p), claim("data", "1Gi"), deployment("web", "web:1", 1), service("web", false), configMap("c", "1")}
	mustApply(t, p, objects...)
	changes, err := p.Delete(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "down", text(changes), "Deployment/web deleted, ConfigMap/c deleted, Service/web deleted")
	if _, err := kube.Get[corev1.PersistentVolumeClaim](t.Context(), a.client, p.namespace, "data"); err != nil {
		t.Errorf("the volume is gone: %v", err)
	}
	equal(t, "up again", mustApply(t, p, claim("data", "1Gi")), "PersistentVolumeClaim/data unchanged")
	started := time.Now()
	if _, err := p.Delete(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	t.Logf("down with the namespace took %s", time.Since(started))
	if _, err := kube.Get[corev1.Namespace](t.Context(), a.client, "", p.namespace); !kube.IsNotFound(err) {
		t.Errorf("the namespace is there: %v", err)
	}
	if changes, err := p.Delete(t.Context(), true); err != nil || len(changes) != 0 {
		t.Errorf("a second time: %v, %v", changes, err)
	}
}

func testDeleteClusterWide(t *testing.T, a api) {
	p := a.project(t)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "berth-test-role"}}
	mustApply(t, p, role, configMap("c", "1"))
	if _, err := p.Delete(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := kube.Get[rbacv1.ClusterRole](t.Context(), a.client, "", role.Name); !kube.IsNotFound(err) {
		t.Errorf("the role is there: %v", err)
	}
}

func testDefinitions(t *testing.T, a api) {
	p := a.project(t)
	widget := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "test.berth.dev/v1", "kind": "Widget", "metadata": map[string]any{"name": "w"}, "spec": map[string]any{"n": int64(1)}}}
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "widgets.test.berth.dev"},
		"spec": map[string]any{
			"group": "test.berth.dev", "scope": "Namespaced", "names": map[string]any{"plural": "widgets", "singular": "widget", "kind": "Widget"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
		},
	}}
	equal(t, "changes", mustApply(t, p, widget, definition), "CustomResourceDefinition/widgets.test.berth.dev created, Widget/w created")
	if second := mustApply(t, p, widget, definition); strings.Contains(second, "updated") {
		t.Errorf("second apply: %s", second)
	}
	if _, err := p.Delete(t.Context(), true); err != nil {
		t.Fatal(err)
	}
}

func replicas(t *testing.T, p *Project, name string) int32 {
	t.Helper()
	d, err := kube.Get[appsv1.Deployment](t.Context(), p.client, p.namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	return *d.Spec.Replicas
}

func testStopStart(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, deployment("web", "web:1", 3), job("migrate", "web:1"))
	for _, step := range []struct {
		do   func(context.Context, string) error
		want int32
	}{{p.Stop, 0}, {p.Stop, 0}, {p.Start, 3}, {p.Start, 3}, {p.Stop, 0}, {p.Restart, 3}} {
		if err := step.do(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		if got := replicas(t, p, "web"); got != step.want {
			t.Errorf("replicas are %d, want %d", got, step.want)
		}
	}
	for _, step := range []struct {
		do   func(context.Context, string) error
		want bool
	}{{p.Stop, true}, {p.Start, false}, {p.Stop, true}, {p.Restart, false}} {
		if err := step.do(t.Context(), "migrate"); err != nil {
			t.Fatal(err)
		}
		j, err := kube.Get[batchv1.Job](t.Context(), a.client, p.namespace, "migrate")
		if err != nil {
			t.Fatal(err)
		}
		if got := j.Spec.Suspend != nil && *j.Spec.Suspend; got != step.want {
			t.Errorf("suspend is %v, want %v", got, step.want)
		}
	}
	if err := p.Stop(t.Context(), "nosuch"); err == nil || !strings.Contains(err.Error(), `find service "nosuch"`) {
		t.Errorf("unknown service: %v", err)
	}
}

func testCreate(t *testing.T, a api) {
	p := a.project(t)
	objects := []model.Object{deployment("web", "web:1", 3), job("migrate", "web:1")}
	running := func() (replicas int32, job bool) {
		t.Helper()
		d, err := kube.Get[appsv1.Deployment](t.Context(), a.client, p.namespace, "web")
		if err != nil {
			t.Fatal(err)
		}
		j, err := kube.Get[batchv1.Job](t.Context(), a.client, p.namespace, "migrate")
		if err != nil {
			t.Fatal(err)
		}
		return *d.Spec.Replicas, j.Spec.Suspend == nil || !*j.Spec.Suspend
	}
	create := func(anew bool) func() error {
		return func() error { _, err := p.Create(t.Context(), objects, anew); return err }
	}
	both := func(do func(context.Context, string) error) func() error {
		return func() error { return errors.Join(do(t.Context(), "web"), do(t.Context(), "migrate")) }
	}
	apply := func() error { _, err := p.Apply(t.Context(), objects); return err }
	for i, step := range []struct {
		do       func() error
		replicas int32
	}{{create(false), 0}, {create(false), 0}, {both(p.Stop), 0}, {both(p.Start), 3}, {create(false), 3}, {create(true), 0}, {apply, 3}, {create(true), 0}, {both(p.Start), 3}} {
		if err := step.do(); err != nil {
			t.Fatalf("step %d: %v", i+1, err)
		}
		n, job := running()
		if n != step.replicas || job != (step.replicas > 0) {
			t.Errorf("step %d: %d replicas and job %v, want %d", i+1, n, job, step.replicas)
		}
		states, err := p.Observe(t.Context())
		if err != nil || len(states) != 2 || states[1].Created != (step.replicas == 0) {
			t.Errorf("step %d: %+v, %v", i+1, states, err)
		}
	}
	if changes, err := p.Apply(t.Context(), objects); err != nil || changes.Changed() {
		t.Errorf("applying what was started changes %s: %v", text(changes), err)
	}
	objects = []model.Object{deployment("web", "web:2", 2), job("migrate", "web:2")}
	if err := create(false)(); err != nil {
		t.Fatal(err)
	}
	if n, job := running(); n != 0 || job {
		t.Errorf("a new definition runs: %d replicas, job %v", n, job)
	}
}

// finishJob ends the pod of a Job well, and so the Job.
func finishJob(t *testing.T, a api, p *Project, name string) {
	t.Helper()
	a.eventually(t, "the Job's pod", func(ctx context.Context) bool {
		pods, err := kube.List[corev1.Pod](ctx, a.client, p.namespace, model.LabelService+"="+name)
		if err != nil || len(pods) != 1 {
			return false
		}
		ended := []byte(`{"status":{"phase":"Succeeded"}}`)
		return a.client.Patch(ctx, podKey(&pods[0]), "status", types.MergePatchType, ended) == nil
	})
	a.eventually(t, "the Job's end", func(ctx context.Context) bool {
		j, err := kube.Get[batchv1.Job](ctx, a.client, p.namespace, name)
		return err == nil && jobCondition(j, batchv1.JobComplete) != nil
	})
}

func testStartEnded(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, job("migrate", "web:1"))
	before, err := kube.Get[batchv1.Job](t.Context(), a.client, p.namespace, "migrate")
	if err != nil {
		t.Fatal(err)
	}
	finishJob(t, a, p, "migrate")
	if err := p.Start(t.Context(), "migrate"); err != nil {
		t.Fatal(err)
	}
	after, err := kube.Get[batchv1.Job](t.Context(), a.client, p.namespace, "migrate")
	if err != nil || after.UID == before.UID || jobCondition(after, batchv1.JobComplete) != nil {
		t.Errorf("it is the same Job: %v", err)
	}
}

func testCronJob(t *testing.T, a api) {
	p := a.project(t)
	cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "nightly", Labels: map[string]string{model.LabelService: "nightly"}},
		Spec: batchv1.CronJobSpec{Schedule: "0 3 * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: job("nightly", "web:1").Spec}}}
	mustApply(t, p, cron)
	if err := p.Wait(withTimeout(t, 20*time.Second), "nightly", model.WaitHealthy, progress.Discard); err != nil {
		t.Error(err)
	}
	for _, step := range []struct {
		do   func(context.Context, string) error
		want bool
	}{{p.Stop, true}, {p.Start, false}, {p.Restart, false}} {
		if err := step.do(t.Context(), "nightly"); err != nil {
			t.Fatal(err)
		}
		live, err := kube.Get[batchv1.CronJob](t.Context(), a.client, p.namespace, "nightly")
		if err != nil || *live.Spec.Suspend != step.want {
			t.Errorf("suspend is %v, %v; want %v", *live.Spec.Suspend, err, step.want)
		}
	}
	equal(t, "up again", mustApply(t, p, cron), "CronJob/nightly unchanged")
	if states, err := p.Observe(t.Context()); err != nil || len(states) != 1 || states[0].Kind != "CronJob" {
		t.Errorf("%+v, %v", states, err)
	}
}

func testStopApply(t *testing.T, a api) {
	p := a.project(t)
	ds := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "agent", Labels: map[string]string{model.LabelService: "agent"}}, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "a:1"}}}}}}
	objects := []model.Object{deployment("web", "web:1", 2), job("migrate", "web:1"), ds}
	mustApply(t, p, objects...)
	for _, s := range []string{"web", "migrate", "agent"} {
		if err := p.Stop(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "changes", mustApply(t, p, objects...), "Deployment/web updated, Job/migrate updated, DaemonSet/agent updated")
	equal(t, "once more", mustApply(t, p, objects...), "Deployment/web unchanged, Job/migrate unchanged, DaemonSet/agent unchanged")
	live, err := kube.Get[appsv1.DaemonSet](t.Context(), a.client, p.namespace, "agent")
	if err != nil {
		t.Fatal(err)
	}
	if len(live.Spec.Template.Spec.NodeSelector) != 0 || replicas(t, p, "web") != 2 {
		t.Errorf("still stopped: %v, %d", live.Spec.Template.Spec.NodeSelector, replicas(t, p, "web"))
	}
}

// nothingToBring is for nodes that have all images.
func nothingToBring(context.Context, []string) error { return nil }

func testRollback(t *testing.T, a api) {
	p := a.project(t)
	for i, image := range []string{"web:1", "web:2", "web:3"} {
		mustApply(t, p, deployment("web", image, 1))
		a.eventually(t, "revision "+image, func(ctx context.Context) bool {
			r, err := p.Revisions(ctx, "web")
			return err == nil && len(r) == i+1
		})
	}
	image := func() string {
		d, err := kube.Get[appsv1.Deployment](t.Context(), a.client, p.namespace, "web")
		if err != nil {
			t.Fatal(err)
		}
		return d.Spec.Template.Spec.Containers[0].Image
	}
	gone := errors.New("its image is gone")
	if _, err := p.Rollback(t.Context(), "web", 0, func(_ context.Context, images []string) error {
		equal(t, "to bring", strings.Join(images, " "), "web:2")
		return gone
	}); !errors.Is(err, gone) || image() != "web:3" {
		t.Errorf("an image that cannot be had: %v, and %s runs", err, image())
	}
	if n, err := p.Rollback(t.Context(), "web", 0, nothingToBring); err != nil || n != 2 || image() != "web:2" {
		t.Fatalf("rolled back to %d with %s: %v", n, image(), err)
	}
	if _, err := p.Rollback(t.Context(), "web", 99, nothingToBring); err == nil || !strings.Contains(err.Error(), "there is no revision 99") {
		t.Errorf("unknown revision: %v", err)
	}
	if n, err := p.Rollback(t.Context(), "web", 1, nothingToBring); err != nil || n != 1 || image() != "web:1" {
		t.Fatalf("rolled back to %d with %s: %v", n, image(), err)
	}
	equal(t, "up", mustApply(t, p, deployment("web", "web:3", 1)), "Deployment/web updated")
	equal(t, "image", image(), "web:3")
}

func testRestart(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, deployment("web", "web:1", 1))
	if err := p.Restart(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	d, err := kube.Get[appsv1.Deployment](t.Context(), a.client, p.namespace, "web")
	if err != nil {
		t.Fatal(err)
	}
	if d.Spec.Template.Annotations[annotationRestarted] == "" || d.Generation != 2 {
		t.Errorf("template annotations %v, generation %d", d.Spec.Template.Annotations, d.Generation)
	}
	equal(t, "up afterwards", mustApply(t, p, deployment("web", "web:1", 1)), "Deployment/web unchanged")
}

func testConcurrent(t *testing.T, a api) {
	base := a.project(t)
	mustApply(t, base, namespace(base))
	sets := [][]model.Object{{configMap("a", "1")}, {service("b", true)}, {deployment("c", "c:1", 1)}, {claim("d", "1Gi")}, {job("e", "e:1")}}
	var all sync.WaitGroup
	for _, objects := range sets {
		other := New(a.client, base.name, base.namespace, progress.Discard) // as another berth would
		all.Go(func() {
			if _, err := other.Apply(t.Context(), objects); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	members, err := base.Members(t.Context())
	if err != nil || len(members) != len(sets) {
		t.Errorf("the inventory finds %v, %v", members, err)
	}
}

func many(n int) []model.Object {
	var objects []model.Object
	for i := range n / 2 {
		objects = append(objects, configMap(fmt.Sprintf("c%d", i), "1"), service(fmt.Sprintf("s%d", i), true))
	}
	return objects
}

func testThirty(t *testing.T, a api) {
	p := a.project(t)
	objects := many(20)
	for i := range 10 {
		objects = append(objects, deployment(fmt.Sprintf("d%d", i), "web:1", 0))
	}
	mustApply(t, p, objects...)
	started := time.Now()
	if got := mustApply(t, New(a.client, p.name, p.namespace, progress.Discard), objects...); strings.Contains(got, "ated,") {
		t.Errorf("changed: %s", got)
	}
	took := time.Since(started)
	t.Logf("30 unchanged objects: %s", took)
	if took > 5*time.Second { // other tests run beside it; alone it takes a few hundredths
		t.Errorf("30 unchanged objects took %s", took)
	}
}

func testThousand(t *testing.T, a api) {
	p := a.project(t)
	objects := many(1000)
	started := time.Now()
	mustApply(t, p, objects...)
	first := time.Since(started)
	started = time.Now()
	if got := mustApply(t, p, objects...); strings.Contains(got, "ated,") {
		t.Error("the second apply changed something")
	}
	second := time.Since(started)
	t.Logf("1000 objects: created in %s, found unchanged in %s", first, second)
	if first > 2*time.Minute || second > 20*time.Second {
		t.Errorf("1000 objects: created in %s, found unchanged in %s", first, second)
	}
}

func testAllErrors(t *testing.T, a api) {
	p := a.project(t)
	bad := func(name string) *corev1.ConfigMap { c := configMap(name, "1"); c.Data["no good!"] = ""; return c }
	_, err := p.Apply(t.Context(), []model.Object{bad("a"), configMap("good", "1"), bad("b")})
	if err == nil || !strings.Contains(err.Error(), `apply ConfigMap "a"`) || !strings.Contains(err.Error(), `apply ConfigMap "b"`) {
		t.Errorf("error %v", err)
	}
	if _, err := kube.Get[corev1.ConfigMap](t.Context(), a.client, p.namespace, "good"); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func testList(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, deployment("web", "web:1", 2))
	found, err := List(t.Context(), a.client)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Project == p.name {
			equal(t, "project", fmt.Sprintf("%s %s %d %d", f.Namespace, f.Services[0].Service, f.Services[0].Desired, f.Services[0].Ready), p.namespace+" web 2 0")
			return
		}
	}
	t.Errorf("not in %v", found)
}

func testFinished(t *testing.T, a api) {
	p := a.project(t)
	once := func(image string) *appsv1.Deployment {
		d := deployment("seed", image, 1)
		d.Spec.Template.Annotations = map[string]string{AnnotationRestart: "no"}
		return d
	}
	mustApply(t, p, once("seed:1"))
	var pod string
	a.eventually(t, "the pod", func(ctx context.Context) bool {
		pods, err := kube.List[corev1.Pod](ctx, a.client, p.namespace, model.LabelService+"=seed")
		if err == nil && len(pods) == 1 {
			pod = pods[0].Name
		}
		return pod != ""
	})
	ended := []byte(`{"status":{"phase":"Running","containerStatuses":[{"name":"seed","image":"seed:1","imageID":"","ready":false,"restartCount":0,"state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}}`)
	if err := a.client.Patch(t.Context(), model.ObjectKey{Kind: "Pod", Namespace: p.namespace, Name: pod}, "status", types.MergePatchType, ended); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(withTimeout(t, 30*time.Second), "seed", model.WaitHealthy, progress.Discard); err != nil {
		t.Fatal(err)
	}
	states, err := p.Observe(t.Context())
	if err != nil || len(states) != 1 || !states[0].Complete || replicas(t, p, "seed") != 0 {
		t.Fatalf("after its end: %+v, %v", states, err)
	}
	equal(t, "up again", mustApply(t, p, once("seed:1")), "Deployment/seed unchanged")
	equal(t, "up with a new image", mustApply(t, p, once("seed:2")), "Deployment/seed updated")
	if n := replicas(t, p, "seed"); n != 1 {
		t.Errorf("replicas are %d", n)
	}
}

// eventually polls for a state of the API server.
func (a api) eventually(t *testing.T, what string, f func(context.Context) bool) {
	t.Helper()
	ctx := withTimeout(t, 30*time.Second)
	if err := until(ctx, func() (bool, error) { return f(ctx), nil }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func withTimeout(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// noCancel is a context for clean-up, which runs when the test's has ended.
func noCancel(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
