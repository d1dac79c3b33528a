package kube

import (
	"context"
	"encoding/json"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/berth-dev/berth/infra/model"
)

// Resource is how the API serves a kind.
type Resource struct {
	Version    string
	Plural     string
	Namespaced bool
}

// newScheme knows the Go types of the kinds berth reads and writes.
func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, networkingv1.AddToScheme, rbacv1.AddToScheme,
		storagev1.AddToScheme, discoveryv1.AddToScheme, policyv1.AddToScheme, autoscalingv2.AddToScheme,
		coordinationv1.AddToScheme, schedulingv1.AddToScheme, admissionv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			panic(err) // the API's own types disagree with each other: not a state to go on from
		}
	}
	return s
}

// builtinKinds is how the kinds that berth emits are served. They need no
// discovery.
func builtinKinds() map[schema.GroupKind]Resource {
	kinds := map[schema.GroupKind]Resource{}
	add := func(group, version string, namespaced bool, plurals map[string]string) {
		for kind, plural := range plurals {
			kinds[schema.GroupKind{Group: group, Kind: kind}] = Resource{version, plural, namespaced}
		}
	}
	add("", "v1", false, map[string]string{"Namespace": "namespaces", "Node": "nodes", "PersistentVolume": "persistentvolumes"})
	add("", "v1", true, map[string]string{
		"Pod": "pods", "Service": "services", "ConfigMap": "configmaps", "Secret": "secrets", "Event": "events",
		"ServiceAccount": "serviceaccounts", "PersistentVolumeClaim": "persistentvolumeclaims", "Endpoints": "endpoints",
		"ResourceQuota": "resourcequotas", "LimitRange": "limitranges",
	})
	add("apps", "v1", true, map[string]string{
		"Deployment": "deployments", "ReplicaSet": "replicasets", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets",
		"ControllerRevision": "controllerrevisions",
	})
	add("batch", "v1", true, map[string]string{"Job": "jobs", "CronJob": "cronjobs"})
	add("networking.k8s.io", "v1", true, map[string]string{"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"})
	add("networking.k8s.io", "v1", false, map[string]string{"IngressClass": "ingressclasses"})
	add("rbac.authorization.k8s.io", "v1", true, map[string]string{"Role": "roles", "RoleBinding": "rolebindings"})
	add("rbac.authorization.k8s.io", "v1", false, map[string]string{"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings"})
	add("storage.k8s.io", "v1", false, map[string]string{"StorageClass": "storageclasses"})
	add("scheduling.k8s.io", "v1", false, map[string]string{"PriorityClass": "priorityclasses"})
	add("policy", "v1", true, map[string]string{"PodDisruptionBudget": "poddisruptionbudgets"})
	add("autoscaling", "v2", true, map[string]string{"HorizontalPodAutoscaler": "horizontalpodautoscalers"})
	add("coordination.k8s.io", "v1", true, map[string]string{"Lease": "leases"})
	add("discovery.k8s.io", "v1", true, map[string]string{"EndpointSlice": "endpointslices"})
	add("apiextensions.k8s.io", "v1", false, map[string]string{"CustomResourceDefinition": "customresourcedefinitions"})
	add("admissionregistration.k8s.io", "v1", false, map[string]string{
		"ValidatingWebhookConfiguration": "validatingwebhookconfigurations", "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
		"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
	})
	return kinds
}

// Resource says how the cluster serves a kind: from the table above, else by
// asking the cluster once. An unknown kind is a meta.NoKindMatchError.
func (c *Client) Resource(ctx context.Context, gk schema.GroupKind) (Resource, error) {
	c.mu.Lock()
	r, ok := c.kinds[gk]
	c.mu.Unlock()
	if ok {
		return r, nil
	}
	r, err := c.discover(ctx, gk)
	if err != nil {
		return Resource{}, err
	}
	c.mu.Lock()
	c.kinds[gk] = r
	c.mu.Unlock()
	return r, nil
}

func (c *Client) discover(ctx context.Context, gk schema.GroupKind) (Resource, error) {
	base, versions := "/api/", []string{"v1"}
	if gk.Group != "" {
		base = "/apis/" + gk.Group + "/"
		var group metav1.APIGroup
		if err := c.getJSON(ctx, "/apis/"+gk.Group, &group); err != nil {
			if !IsNotFound(err) {
				return Resource{}, err
			}
			return Resource{}, &meta.NoKindMatchError{GroupKind: gk}
		}
		versions = []string{group.PreferredVersion.Version}
		for _, v := range group.Versions {
			if v.Version != group.PreferredVersion.Version {
				versions = append(versions, v.Version)
			}
		}
	}
	for _, version := range versions {
		var list metav1.APIResourceList
		if err := c.getJSON(ctx, base+version, &list); err != nil {
			return Resource{}, err
		}
		for _, r := range list.APIResources {
			if r.Kind == gk.Kind && !isSubresource(r.Name) {
				return Resource{version, r.Name, r.Namespaced}, nil
			}
		}
	}
	return Resource{}, &meta.NoKindMatchError{GroupKind: gk, SearchedVersions: versions}
}

func isSubresource(name string) bool {
	for _, r := range name {
		if r == '/' {
			return true
		}
	}
	return false
}

func (c *Client) getJSON(ctx context.Context, path string, into any) error {
	raw, _, err := c.do(ctx, func() *rest.Request { return c.rest.Get().AbsPath(path) })
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// KindOf is the group and kind of an object: what it says of itself, else
// what its Go type is called.
func (c *Client) KindOf(obj runtime.Object) (schema.GroupKind, error) {
	if gvk := obj.GetObjectKind().GroupVersionKind(); gvk.Kind != "" {
		return gvk.GroupKind(), nil
	}
	kinds, _, err := c.scheme.ObjectKinds(obj)
	if err != nil {
		return schema.GroupKind{}, fmt.Errorf("object of type %T has no kind: %w", obj, err)
	}
	return kinds[0].GroupKind(), nil
}

// KeyOf names an object.
func (c *Client) KeyOf(obj model.Object) (model.ObjectKey, error) {
	gk, err := c.KindOf(obj)
	if err != nil {
		return model.ObjectKey{}, err
	}
	return model.ObjectKey{Group: gk.Group, Kind: gk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}, nil
}

// path is where a kind is served, below a namespace unless that is empty or
// the kind has none, and a name unless that is empty.
func (c *Client) path(ctx context.Context, key model.ObjectKey) (string, error) {
	r, err := c.Resource(ctx, schema.GroupKind{Group: key.Group, Kind: key.Kind})
	if err != nil {
		return "", err
	}
	path := "/apis/" + key.Group + "/" + r.Version
	if key.Group == "" {
		path = "/api/" + r.Version
	}
	if r.Namespaced && key.Namespace != "" {
		path += "/namespaces/" + key.Namespace
	}
	path += "/" + r.Plural
	if key.Name != "" {
		path += "/" + key.Name
	}
	return path, nil
}
