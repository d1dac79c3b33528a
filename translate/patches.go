package translate

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// patched applies the x-berth patches of u to its objects: the last resort
// for what compose and x-berth have no word for.
func (t *translator) patched(u *unit, objects []Object) ([]Object, error) {
	d := hintDecoder{positions: t.in.Positions}
	for i, patch := range u.hints.Patches {
		path := fmt.Sprintf("%s.%s.patches[%d]", u.path, extension, i)
		hit := false
		for n, object := range objects {
			if object.GetObjectKind().GroupVersionKind().Kind != patch.Kind {
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
		if !hit {
			d.fail(path+".kind", fmt.Sprintf("the service has no object of kind %q", patch.Kind), Suggest(patch.Kind, kindsOf(objects)))
		}
	}
	return objects, d.errs.orNil()
}

func kindsOf(objects []Object) []string {
	seen := map[string]bool{}
	for _, o := range objects {
		seen[o.GetObjectKind().GroupVersionKind().Kind] = true
	}
	return sortedKeys(seen)
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
	return fresh, nil
}
