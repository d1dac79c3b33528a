package names

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

const (
	system     = "kube-system"
	coreDNS    = "coredns"     // the Deployment, and the ConfigMap with the Corefile
	service    = "kube-dns"    // the Service, and the label of the pods
	configMap  = "berth-names" // with the zone
	zoneKey    = "zone"
	zoneFolder = "/etc/berth-names"
	zonePath   = zoneFolder + "/" + zoneKey

	// CoreDNS is asked often whether it is ready, and may fail as long as by
	// Kubernetes' defaults of every 10 s and 3 times.
	readyPeriod   = 2
	readyFailures = 15

	// annotationServed is on the ConfigMap: the serial number of a zone that
	// every server was seen to have.
	annotationServed = "berth.dev/served"
	// annotationZone is on CoreDNS' pods. A change of a pod makes its kubelet
	// bring the pod's ConfigMaps up to date at once and not within a minute.
	annotationZone = "berth.dev/names"
)

// Resolver is the DNS of one cluster. It is safe for concurrent use.
type Resolver struct {
	client *kube.Client
}

// New returns the DNS of the cluster that client talks to.
func New(client *kube.Client) *Resolver { return &Resolver{client} }

// Address is where pods ask the cluster's DNS, "" when Install has not been
// there.
func (r *Resolver) Address(ctx context.Context) (string, error) {
	if _, err := kube.Get[corev1.ConfigMap](ctx, r.client, system, configMap); err != nil {
		if kube.IsNotFound(err) {
			return "", nil
		}
		return "", err
	}
	s, err := kube.Get[corev1.Service](ctx, r.client, system, service)
	if err != nil {
		return "", err
	}
	return s.Spec.ClusterIP, nil
}

// Install makes CoreDNS serve the zone and returns its address. What is in
// place already is left alone. It does not wait for CoreDNS: Set does.
func (r *Resolver) Install(ctx context.Context) (string, error) {
	err := r.install(ctx)
	if err != nil {
		return "", problem.New("make the cluster's DNS serve the names of compose networks", err, "berth doctor")
	}
	return r.Address(ctx)
}

func (r *Resolver) install(ctx context.Context) error {
	if err := r.ensureZone(ctx); err != nil { // CoreDNS does not start without the file
		return err
	}
	if err := r.ensureCorefile(ctx); err != nil {
		return err
	}
	d, err := kube.Get[appsv1.Deployment](ctx, r.client, system, coreDNS)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(d.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == configMap }) {
		return nil
	}
	patch := map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"volumes": []any{map[string]any{"name": configMap, "configMap": map[string]any{"name": configMap}}},
		"containers": []any{map[string]any{
			"name":         coreDNS,
			"volumeMounts": []any{map[string]any{"name": configMap, "mountPath": zoneFolder, "readOnly": true}},
			// A kubelet that has just started waits up to a period before it asks.
			"readinessProbe": map[string]any{"periodSeconds": readyPeriod, "failureThreshold": readyFailures},
		}},
	}}}}
	return r.patch(ctx, model.ObjectKey{Group: "apps", Kind: "Deployment", Namespace: system, Name: coreDNS}, types.StrategicMergePatchType, patch)
}

func (r *Resolver) ensureZone(ctx context.Context) error {
	_, err := kube.Get[corev1.ConfigMap](ctx, r.client, system, configMap)
	if !kube.IsNotFound(err) {
		return err
	}
	m, err := r.client.Manifest(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: configMap, Namespace: system, Labels: map[string]string{model.LabelManagedBy: model.ManagedBy}},
		Data:       map[string]string{zoneKey: zone{serial: 1}.String()},
	})
	if err != nil {
		return err
	}
	if _, err = r.client.Create(ctx, m); apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (r *Resolver) ensureCorefile(ctx context.Context) error {
	for {
		c, err := kube.Get[corev1.ConfigMap](ctx, r.client, system, coreDNS)
		if err != nil {
			return err
		}
		corefile, err := configure(c.Data["Corefile"])
		if err != nil || corefile == c.Data["Corefile"] {
			return err
		}
		err = r.patch(ctx, keyOf(c), types.MergePatchType, map[string]any{
			"metadata": map[string]any{"resourceVersion": c.ResourceVersion},
			"data":     map[string]any{"Corefile": corefile},
		})
		if !apierrors.IsConflict(err) { // else another berth was quicker
			return err
		}
	}
}

// Set makes names all that the namespace has, and returns when every server of
// the cluster knows.
func (r *Resolver) Set(ctx context.Context, namespace string, names []model.Name, sink progress.Sink) error {
	serial, served, err := r.write(ctx, func(have zone, exists func(string) bool) zone { return have.with(namespace, names, exists) })
	if err != nil {
		return problem.New(fmt.Sprintf("make the names of namespace %q known", namespace), err, "")
	}
	if served {
		return nil
	}
	task := progress.Start(sink, "names", "waiting until the cluster's DNS knows them")
	return task.End(r.await(ctx, serial, task), fmt.Sprintf("%d", len(names)))
}

// Remove forgets the names of a namespace. A cluster without them is no error.
func (r *Resolver) Remove(ctx context.Context, namespace string) error {
	_, _, err := r.write(ctx, func(have zone, exists func(string) bool) zone { return have.with(namespace, nil, exists) })
	if kube.IsNotFound(err) {
		return nil
	}
	return err
}

// Forget forgets the names of a namespace that lead to one of services. A
// cluster without them is no error.
func (r *Resolver) Forget(ctx context.Context, namespace string, services []string) error {
	_, _, err := r.write(ctx, func(have zone, _ func(string) bool) zone { return have.without(namespace, services) })
	if kube.IsNotFound(err) {
		return nil
	}
	return err
}

// write changes the zone and returns its serial number, and whether every
// server has been seen to have it.
func (r *Resolver) write(ctx context.Context, change func(have zone, exists func(namespace string) bool) zone) (serial uint32, served bool, err error) {
	for {
		c, err := kube.Get[corev1.ConfigMap](ctx, r.client, system, configMap)
		if err != nil {
			return 0, false, err
		}
		spaces, err := kube.List[corev1.Namespace](ctx, r.client, "", "")
		if err != nil {
			return 0, false, err
		}
		have := parseZone(c.Data[zoneKey])
		want := change(have, func(name string) bool {
			return slices.ContainsFunc(spaces, func(s corev1.Namespace) bool { return s.Name == name })
		})
		if want.serial == have.serial {
			return have.serial, c.Annotations[annotationServed] == fmt.Sprint(have.serial), nil
		}
		err = r.patch(ctx, keyOf(c), types.MergePatchType, map[string]any{
			"metadata": map[string]any{"resourceVersion": c.ResourceVersion},
			"data":     map[string]any{zoneKey: want.String()},
		})
		if !apierrors.IsConflict(err) {
			return want.serial, false, err
		}
	}
}

// patience is how long the servers may take to read the zone again. A kubelet
// that is not told brings a ConfigMap up to date within a minute and a half.
const patience = 2 * time.Minute

// await returns when every ready server has the zone of that serial number or
// a later one, and notes so.
func (r *Resolver) await(ctx context.Context, serial uint32, task *progress.Task) error {
	late := problem.New("make names known to the cluster's DNS", fmt.Errorf("a server has not read them within %s", patience),
		"kubectl -n kube-system logs -l k8s-app=kube-dns")
	ctx, cancel := context.WithTimeoutCause(ctx, patience, late)
	defer cancel()
	told := map[string]bool{}
	for began := time.Now(); ; {
		lacks, err := r.behind(ctx, serial, told)
		if err != nil {
			return err
		}
		if lacks == "" {
			break
		}
		if time.Since(began) > 2*time.Second {
			task.Update("waiting for " + lacks)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(150 * time.Millisecond):
		}
	}
	return r.patch(ctx, model.ObjectKey{Kind: "ConfigMap", Namespace: system, Name: configMap}, types.MergePatchType,
		map[string]any{"metadata": map[string]any{"annotations": map[string]any{annotationServed: strconv.Itoa(int(serial))}}})
}

// behind names a server that does not have the zone yet, and tells the kubelet
// of those it has not told.
func (r *Resolver) behind(ctx context.Context, serial uint32, told map[string]bool) (string, error) {
	pods, err := kube.List[corev1.Pod](ctx, r.client, system, "k8s-app="+service)
	if err != nil {
		return "", err
	}
	ready, lacks := 0, ""
	for _, p := range pods {
		if p.DeletionTimestamp != nil || !isReady(p) {
			continue // it answers nobody, and reads the zone when it starts
		}
		ready++
		if has, err := r.serial(ctx, p.Name); err == nil && has >= serial {
			continue
		}
		lacks = p.Name
		if told[p.Name] {
			continue
		}
		told[p.Name] = true
		err := r.patch(ctx, model.ObjectKey{Kind: "Pod", Namespace: system, Name: p.Name}, types.MergePatchType,
			map[string]any{"metadata": map[string]any{"annotations": map[string]any{annotationZone: strconv.Itoa(int(serial))}}})
		if err != nil && !kube.IsNotFound(err) {
			return "", err
		}
	}
	if ready == 0 {
		return "the DNS server to start", nil
	}
	return lacks, nil
}

func isReady(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func keyOf(c *corev1.ConfigMap) model.ObjectKey {
	return model.ObjectKey{Kind: "ConfigMap", Namespace: c.Namespace, Name: c.Name}
}

func (r *Resolver) patch(ctx context.Context, key model.ObjectKey, kind types.PatchType, patch map[string]any) error {
	raw, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return r.client.Patch(ctx, key, "", kind, raw)
}
