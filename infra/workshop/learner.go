package workshop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/templates"
)

// Labels of the namespaces of learners.
const (
	labelWorkshop = "dev.berth.workshop"        // the workshop
	labelDomain   = "dev.berth.workshop.domain" // what the hosts of a confined learner end in
)

// goneWithin is how long a namespace may take to disappear, tokenWithin how long
// an account's token to appear.
const (
	goneWithin  = 2 * time.Minute
	tokenWithin = 20 * time.Second
)

// EnsureNamespace makes sure that a learner has the namespace, with everything
// that confines it. One that is being deleted is waited for and made anew.
func EnsureNamespace(ctx context.Context, c *kube.Client, workshop string, l Learner) error {
	if err := awaitNotTerminating(ctx, c, l.Namespace); err != nil {
		return err
	}
	labels := map[string]any{labelWorkshop: workshop, model.LabelManagedBy: model.ManagedBy}
	if l.Confined {
		labels[labelDomain] = l.Domain
		// No host directories, host network or privileged containers: they lead out of the namespace.
		labels["pod-security.kubernetes.io/enforce"] = "baseline"
	}
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": l.Namespace, "labels": labels},
	}}
	if _, _, err := c.Apply(ctx, namespace); err != nil {
		return fmt.Errorf("make namespace %q: %w", l.Namespace, err)
	}
	if !l.Confined {
		return nil
	}
	cidr, err := podCIDR(ctx, c)
	if err != nil {
		return err
	}
	if err := apply(ctx, c, "fences.yaml"); err != nil {
		return err
	}
	return apply(ctx, c, "learner.yaml", "NAMESPACE", l.Namespace, "POD_CIDR", cidr)
}

func awaitNotTerminating(ctx context.Context, c *kube.Client, name string) error {
	limited, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	for tick := time.NewTicker(300 * time.Millisecond); ; {
		n, err := kube.Get[corev1.Namespace](ctx, c, "", name)
		if kube.IsNotFound(err) || err == nil && n.DeletionTimestamp == nil {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return problem.New(fmt.Sprintf("namespace %q is being deleted and does not go", name), nil,
				fmt.Sprintf("kubectl get namespace %s -o yaml shows what holds it", name))
		case <-tick.C:
		}
	}
}

// DeleteNamespace removes a learner's namespace with everything in it, and
// returns when it is gone.
func DeleteNamespace(ctx context.Context, c *kube.Client, l Learner) error {
	if err := c.Delete(ctx, model.ObjectKey{Kind: "Namespace", Name: l.Namespace}, kube.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete namespace %q: %w", l.Namespace, err)
	}
	return awaitNotTerminating(ctx, c, l.Namespace)
}

// DeleteFences removes the rules for all learners, unless another workshop has
// some on the cluster.
func DeleteFences(ctx context.Context, c *kube.Client) error {
	namespaces, err := kube.List[corev1.Namespace](ctx, c, "", labelDomain)
	if err != nil || len(namespaces) > 0 {
		return err
	}
	objects, err := manifests("fences.yaml")
	if err != nil {
		return err
	}
	for _, o := range objects {
		key, err := c.KeyOf(o)
		if err != nil {
			return err
		}
		if err := c.Delete(ctx, key, kube.DeleteOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// ClusterID is what tells a cluster from every other, whatever its name.
func ClusterID(ctx context.Context, c *kube.Client) (string, error) {
	system, err := kube.Get[corev1.Namespace](ctx, c, "", "kube-system")
	if err != nil {
		return "", err
	}
	return string(system.UID), nil
}

// apply applies a manifest of templates/workshop with words replaced.
func apply(ctx context.Context, c *kube.Client, name string, replace ...string) error {
	objects, err := manifests(name, replace...)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if _, _, err := c.Apply(ctx, o); err != nil {
			return fmt.Errorf("apply %s %q: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

func manifests(name string, replace ...string) ([]*unstructured.Unstructured, error) {
	raw, err := templates.Workshop.ReadFile("workshop/" + name)
	if err != nil {
		return nil, err
	}
	text := strings.NewReplacer(replace...).Replace(string(raw))
	var objects []*unstructured.Unstructured
	for _, document := range strings.Split(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// podCIDR is the network of all pods: the nodes' ranges in one.
func podCIDR(ctx context.Context, c *kube.Client) (string, error) {
	nodes, err := kube.List[corev1.Node](ctx, c, "", "")
	if err != nil {
		return "", err
	}
	for i := range nodes {
		// kind gives every node a /24 of one /16.
		if parts := strings.Split(nodes[i].Spec.PodCIDR, "."); len(parts) == 4 {
			return parts[0] + "." + parts[1] + ".0.0/16", nil
		}
	}
	return "", errors.New("no node says what network its pods are in")
}

// ConfinedKubeconfig is access to the cluster with a learner's rights alone,
// made of the administrator's.
func ConfinedKubeconfig(ctx context.Context, c *kube.Client, admin []byte, l Learner) ([]byte, error) {
	token, err := learnerToken(ctx, c, l)
	if err != nil {
		return nil, err
	}
	return rewrite(admin, l.Namespace, l.Name, map[string]any{"token": token})
}

// OpenKubeconfig is the administrator's access with a namespace chosen.
func OpenKubeconfig(admin []byte, l Learner) ([]byte, error) {
	return rewrite(admin, l.Namespace, "", nil) // the context keeps its name: berth finds the cluster by it
}

// rewrite gives a kubeconfig of one context a namespace and, if user is not
// nil, another user.
func rewrite(admin []byte, namespace, name string, user map[string]any) ([]byte, error) {
	var k struct {
		Clusters []json.RawMessage `json:"clusters"`
		Users    []map[string]any  `json:"users"`
		Contexts []struct {
			Name    string `json:"name"`
			Context struct {
				Cluster string `json:"cluster"`
			} `json:"context"`
		} `json:"contexts"`
	}
	if err := yaml.Unmarshal(admin, &k); err != nil {
		return nil, err
	}
	if len(k.Users) != 1 || len(k.Contexts) != 1 || len(k.Clusters) != 1 {
		return nil, errors.New("the cluster's kubeconfig does not have one context")
	}
	if user == nil {
		name = k.Contexts[0].Name
		user, _ = k.Users[0]["user"].(map[string]any)
	}
	return yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "clusters": k.Clusters,
		"users":           []any{map[string]any{"name": name, "user": user}},
		"contexts":        []any{map[string]any{"name": name, "context": map[string]any{"cluster": k.Contexts[0].Context.Cluster, "user": name, "namespace": namespace}}},
		"current-context": name,
	})
}

// learnerToken waits until the cluster has made the token of the learner's
// account.
func learnerToken(ctx context.Context, c *kube.Client, l Learner) (string, error) {
	limited, cancel := context.WithTimeout(ctx, tokenWithin)
	defer cancel()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		secret, err := kube.Get[corev1.Secret](ctx, c, l.Namespace, "learner-token")
		if err == nil && len(secret.Data["token"]) > 0 {
			return string(secret.Data["token"]), nil
		}
		if err != nil && !kube.IsNotFound(err) {
			return "", err
		}
		select {
		case <-limited.Done():
			return "", errors.Join(ctx.Err(), fmt.Errorf("the cluster made no token for learner %q within %s", l.Name, tokenWithin))
		case <-tick.C:
		}
	}
}
