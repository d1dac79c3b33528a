package translate

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// patchAll applies the x-berth patches of all services to their objects: the
// last resort for what compose and x-berth have no word for.
func (t *translator) patchAll(r *Result) error {
	d := hintDecoder{positions: t.in.Positions}
	services := map[string]int{}
	for i, s := range r.Services {
		services[s.Name] = i
	}
	for _, u := range t.units {
		if len(u.hints.Patches) > 0 {
			t.patch(&d, u, r.Services[services[u.name]].Objects, r.Shared)
		}
	}
	return d.errs.orNil()
}

// patch patches objects of u, and those of the shared ones that carry its
// label: kubeServices.
func (t *translator) patch(d *hintDecoder, u *unit, own, shared []Object) {
	for i, patch := range u.hints.Patches {
		path := itemPath(u.path+"."+extension, "patches", i)
		hit, kinds := false, map[string]bool{}
		for _, objects := range [][]Object{own, shared} {
			for n, object := range objects {
				if object.GetLabels()[labelService] != LabelValue(u.name) {
					continue
				}
				kind := object.GetObjectKind().GroupVersionKind().Kind
				if kinds[kind] = true; kind != patch.Kind {
					continue
				}
				hit = true
				changed, err := patchObject(object, patch.Patch)
				if err != nil {
					d.fail(path, err.Error(), "")
					continue
				}
				objects[n] = changed
			}
		}
		if !hit {
			d.fail(path+".kind", fmt.Sprintf("the service has no object of kind %q", patch.Kind), Suggest(patch.Kind, sortedKeys(kinds)))
		}
	}
}

// patchObject returns object with a strategic merge patch applied. Name, kind
// and selector labels must stay, and unknown fields are errors.
func patchObject(object Object, patch map[string]any) (Object, error) {
	before, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	change, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	fresh := reflect.New(reflect.TypeOf(object).Elem()).Interface().(Object)
	after, err := strategicpatch.StrategicMergePatch(before, change, fresh)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(strings.NewReader(string(after)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(fresh); err != nil {
		return nil, err
	}
	if fresh.GetName() != object.GetName() || fresh.GetNamespace() != object.GetNamespace() ||
		fresh.GetObjectKind().GroupVersionKind() != object.GetObjectKind().GroupVersionKind() {
		return nil, fmt.Errorf("a patch cannot change the name or kind of an object")
	}
	if err := keepsSelector(before, after); err != nil {
		return nil, err
	}
	return fresh, nil
}

// keepsSelector refuses a patch after which an object would not find its pods,
// or berth would not find the object.
func keepsSelector(before, after []byte) error {
	type found struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Spec struct {
			Selector any `json:"selector"`
			Template struct {
				Metadata struct {
					Labels map[string]string `json:"labels"`
				} `json:"metadata"`
			} `json:"template"`
		} `json:"spec"`
	}
	var was, is found
	if err := errors.Join(json.Unmarshal(before, &was), json.Unmarshal(after, &is)); err != nil {
		return err
	}
	if !reflect.DeepEqual(was.Spec.Selector, is.Spec.Selector) {
		return errors.New("a patch cannot change the selector of an object: it would not find the service's pods")
	}
	for _, name := range []string{labelProject, labelService, labelManagedBy} {
		if was.Metadata.Labels[name] != is.Metadata.Labels[name] || was.Spec.Template.Metadata.Labels[name] != is.Spec.Template.Metadata.Labels[name] {
			return fmt.Errorf("a patch cannot change the label %s, by which objects and pods are found", name)
		}
	}
	return nil
}
