package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"

	"github.com/berth-dev/berth/infra/model"
)

// IsNotFound reports whether the API server has no such object.
func IsNotFound(err error) bool { return apierrors.IsNotFound(err) }

// Typed is a pointer to a Go type of the Kubernetes API.
type Typed[T any] interface {
	*T
	model.Object
}

// Manifest returns an object as the plain data an API server is sent: with
// apiVersion and kind, without status and without empty creation times.
func (c *Client) Manifest(ctx context.Context, obj model.Object) (*unstructured.Unstructured, error) {
	gk, err := c.KindOf(obj)
	if err != nil {
		return nil, err
	}
	var u *unstructured.Unstructured
	if already, ok := obj.(*unstructured.Unstructured); ok {
		u = already.DeepCopy()
	} else {
		// Through JSON, not the reflection converter: only the types' own
		// JSON methods leave out what omitzero says.
		raw, err := json.Marshal(obj)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", gk.Kind, obj.GetName(), err)
		}
		if u, err = plain(raw); err != nil {
			return nil, err
		}
	}
	if u.GetAPIVersion() == "" || u.GetKind() == "" {
		r, err := c.Resource(ctx, gk)
		if err != nil {
			return nil, err
		}
		u.SetGroupVersionKind(gk.WithVersion(r.Version))
	}
	delete(u.Object, "status")
	dropCreationTimes(u.Object)
	return u, nil
}

// dropCreationTimes removes the `creationTimestamp: null` that older API
// types write into metadata, templates included.
func dropCreationTimes(v map[string]any) {
	for key, x := range v {
		if x == nil && key == "creationTimestamp" {
			delete(v, key)
		}
		if m, ok := x.(map[string]any); ok {
			dropCreationTimes(m)
		}
	}
}

// Apply sends an object by server-side apply, as field manager "berth", and
// takes over what another manager set. It returns the object as it is now and
// whether it was created.
func (c *Client) Apply(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, bool, error) {
	key, err := c.KeyOf(obj)
	if err != nil {
		return nil, false, err
	}
	path, err := c.path(ctx, key)
	if err != nil {
		return nil, false, err
	}
	body, err := json.Marshal(obj.Object)
	if err != nil {
		return nil, false, err
	}
	raw, status, err := c.do(ctx, func() *rest.Request {
		return c.rest.Patch(types.ApplyPatchType).AbsPath(path).
			Param("fieldManager", FieldManager).Param("force", "true").Param("fieldValidation", "Strict").Body(body)
	})
	if err != nil {
		return nil, false, err
	}
	live, err := plain(raw)
	return live, status == http.StatusCreated, err
}

// Create makes an object that must not exist yet.
func (c *Client) Create(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	key, err := c.KeyOf(obj)
	if err != nil {
		return nil, err
	}
	key.Name = ""
	path, err := c.path(ctx, key)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(obj.Object)
	if err != nil {
		return nil, err
	}
	result := c.rest.Post().AbsPath(path).Param("fieldManager", FieldManager).Body(body).Do(ctx)
	if err := result.Error(); err != nil {
		return nil, c.explain(err)
	}
	raw, err := result.Raw()
	if err != nil {
		return nil, err
	}
	return plain(raw)
}

// plain reads JSON into plain data, whole numbers as int64.
func plain(raw []byte) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	return u, utiljson.Unmarshal(raw, &u.Object)
}

// Get reads one object of a Go type.
func Get[T any, P Typed[T]](ctx context.Context, c *Client, namespace, name string) (P, error) {
	obj := P(new(T))
	key, err := c.KeyOf(obj)
	if err != nil {
		return nil, err
	}
	key.Namespace, key.Name = namespace, name
	raw, err := c.get(ctx, key)
	if err != nil {
		return nil, err
	}
	return obj, json.Unmarshal(raw, obj)
}

// GetAny reads one object of any kind.
func (c *Client) GetAny(ctx context.Context, key model.ObjectKey) (*unstructured.Unstructured, error) {
	raw, err := c.get(ctx, key)
	if err != nil {
		return nil, err
	}
	return plain(raw)
}

func (c *Client) get(ctx context.Context, key model.ObjectKey) ([]byte, error) {
	path, err := c.path(ctx, key)
	if err != nil {
		return nil, err
	}
	raw, _, err := c.do(ctx, func() *rest.Request { return c.rest.Get().AbsPath(path) })
	return raw, err
}

// List reads all objects of a Go type in a namespace ("" for all) that a label
// selector ("" for all) chooses.
func List[T any, P Typed[T]](ctx context.Context, c *Client, namespace, selector string) ([]T, error) {
	gk, err := c.KindOf(P(new(T)))
	if err != nil {
		return nil, err
	}
	items, _, err := list[T](ctx, c, model.ObjectKey{Group: gk.Group, Kind: gk.Kind, Namespace: namespace}, selector)
	return items, err
}

// ListAny is List for any kind.
func (c *Client) ListAny(ctx context.Context, gk schema.GroupKind, namespace, selector string) ([]*unstructured.Unstructured, error) {
	r, err := c.Resource(ctx, gk)
	if err != nil {
		return nil, err
	}
	items, _, err := list[map[string]any](ctx, c, model.ObjectKey{Group: gk.Group, Kind: gk.Kind, Namespace: namespace}, selector)
	if err != nil {
		return nil, err
	}
	objects := make([]*unstructured.Unstructured, len(items))
	for i, item := range items {
		objects[i] = &unstructured.Unstructured{Object: item}
		objects[i].SetGroupVersionKind(gk.WithVersion(r.Version))
	}
	return objects, nil
}

// page is how many objects one request of a list asks for.
const page = 500

// list reads a whole list, page by page, and its resource version.
func list[T any](ctx context.Context, c *Client, key model.ObjectKey, selector string) ([]T, string, error) {
	path, err := c.path(ctx, key)
	if err != nil {
		return nil, "", err
	}
	var items []T
	for next := ""; ; {
		raw, _, err := c.do(ctx, func() *rest.Request {
			r := c.rest.Get().AbsPath(path).Param("limit", strconv.Itoa(page))
			if selector != "" {
				r = r.Param("labelSelector", selector)
			}
			if next != "" {
				r = r.Param("continue", next)
			}
			return r
		})
		if apierrors.IsResourceExpired(err) && next != "" {
			items, next = nil, "" // the snapshot behind the pages is gone: read it anew
			continue
		}
		if err != nil {
			return nil, "", err
		}
		var batch struct {
			Metadata metav1.ListMeta
			Items    []json.RawMessage
		}
		if err := json.Unmarshal(raw, &batch); err != nil {
			return nil, "", err
		}
		for _, raw := range batch.Items {
			var item T
			if err := utiljson.Unmarshal(raw, &item); err != nil {
				return nil, "", err
			}
			items = append(items, item)
		}
		if next = batch.Metadata.Continue; next == "" {
			return items, batch.Metadata.ResourceVersion, nil
		}
	}
}

// DeleteOptions say how an object goes.
type DeleteOptions struct {
	Grace      *int64    // seconds; nil for the object's own
	UID        types.UID // delete only this incarnation; "" for any
	Foreground bool      // the object goes after what it owns, not before
}

// Delete starts the deletion of an object and, in the background, of what it
// owns. An object that does not exist is no error.
func (c *Client) Delete(ctx context.Context, key model.ObjectKey, o DeleteOptions) error {
	path, err := c.path(ctx, key)
	if err != nil {
		return err
	}
	policy := metav1.DeletePropagationBackground
	if o.Foreground {
		policy = metav1.DeletePropagationForeground
	}
	options := metav1.DeleteOptions{
		TypeMeta:          metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		PropagationPolicy: &policy, GracePeriodSeconds: o.Grace,
	}
	if o.UID != "" {
		options.Preconditions = &metav1.Preconditions{UID: &o.UID}
	}
	body, err := json.Marshal(options)
	if err != nil {
		return err
	}
	_, _, err = c.do(ctx, func() *rest.Request { return c.rest.Delete().AbsPath(path).Body(body) })
	if IsNotFound(err) || (o.UID != "" && apierrors.IsConflict(err)) {
		return nil
	}
	return err
}

// Patch changes one object: a merge, strategic merge or JSON patch, under a
// field manager of its own so that it never mixes with what Apply owns.
// subresource is "" or one of the kind's: scale, status.
func (c *Client) Patch(ctx context.Context, key model.ObjectKey, subresource string, kind types.PatchType, patch []byte) error {
	path, err := c.path(ctx, key)
	if err != nil {
		return err
	}
	if subresource != "" {
		path += "/" + subresource
	}
	_, _, err = c.do(ctx, func() *rest.Request {
		return c.rest.Patch(kind).AbsPath(path).Param("fieldManager", FieldManager+"-patch").Body(patch)
	})
	return err
}

// As converts plain data to a Go type of the API.
func As[T any, P Typed[T]](u *unstructured.Unstructured) (P, error) {
	obj := P(new(T))
	return obj, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, obj)
}

func decode[T any, P Typed[T]](raw []byte) (P, error) {
	obj := P(new(T))
	return obj, json.Unmarshal(raw, obj)
}
