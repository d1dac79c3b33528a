package export

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/berth-dev/berth/translate"
)

// Kustomize writes a folder with a base and two overlays. The base and the
// overlay prod build to the portable translation; the overlay dev adds what only
// a cluster on the developer's machine has (bind mounts, NodePorts, settings of
// `berth dev`), so that it builds to the translation for that cluster.
func Kustomize(dir string, portable, dev translate.Result) error {
	files := map[string][]byte{}
	base, err := addBase(files, portable.Objects())
	if err != nil {
		return err
	}
	if err := addDev(files, base, dev.Objects()); err != nil {
		return err
	}
	addProd(files, portable)
	return WriteFiles(dir, files)
}

// An objectKey names an object within a translation.
type objectKey struct{ group, version, kind, name string }

func keyOf(o translate.Object) objectKey {
	g := o.GetObjectKind().GroupVersionKind()
	return objectKey{g.Group, g.Version, g.Kind, o.GetName()}
}

// addBase adds the base, and returns its objects as plain values.
func addBase(files map[string][]byte, objects []translate.Object) (map[objectKey]map[string]any, error) {
	written, err := objectFiles(objects)
	if err != nil {
		return nil, err
	}
	values := map[objectKey]map[string]any{}
	for _, o := range objects {
		if values[keyOf(o)], err = plain(o); err != nil {
			return nil, err
		}
	}
	names := slices.Sorted(maps.Keys(written))
	for _, name := range names {
		files["base/"+name] = written[name]
	}
	files["base/kustomization.yaml"] = kustomization("what every environment has", map[string]any{"resources": anyList(names)})
	return values, nil
}

// addDev adds the overlay that turns the base into the given objects.
func addDev(files map[string][]byte, base map[objectKey]map[string]any, objects []translate.Object) error {
	const overlay = "overlays/dev/"
	resources := []any{"../../base"}
	var patches []any
	seen := map[objectKey]bool{}
	for _, o := range objects {
		key := keyOf(o)
		seen[key] = true
		value, err := plain(o)
		if err != nil {
			return err
		}
		from, inBase := base[key]
		if !inBase {
			name := fileName(o)
			resources = append(resources, name)
			if files[overlay+name], err = Marshal(o); err != nil {
				return err
			}
			continue
		}
		if changes := jsonPatch(from, value, ""); len(changes) > 0 {
			name := "patches/" + strings.TrimSuffix(fileName(o)[3:], ".yaml") + ".yaml"
			files[overlay+name] = yamlOf(changes)
			patches = append(patches, map[string]any{"path": name, "target": target(key)})
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(base), compareKeys) {
		if !seen[key] {
			remove := map[string]any{
				"$patch": "delete", "kind": key.kind, "apiVersion": path.Join(key.group, key.version), "metadata": map[string]any{"name": key.name},
			}
			patches = append(patches, map[string]any{"patch": string(yamlOf(remove)), "target": target(key)})
		}
	}
	fields := map[string]any{"resources": resources}
	if len(patches) > 0 {
		fields["patches"] = patches
	}
	files[overlay+"kustomization.yaml"] = kustomization("a cluster on the developer's machine, as berth dev makes it", fields)
	return nil
}

func compareKeys(a, b objectKey) int {
	return strings.Compare(a.kind+"/"+a.name, b.kind+"/"+b.name)
}

func target(key objectKey) map[string]any {
	t := map[string]any{"version": key.version, "kind": key.kind, "name": key.name}
	if key.group != "" {
		t["group"] = key.group
	}
	return t
}

// addProd adds an overlay that changes nothing yet, and names what production
// usually changes: images and replicas.
func addProd(files map[string][]byte, r translate.Result) {
	var images, replicas []any
	tags := map[string]int{} // of each repository: the transformer would set all to one
	for _, name := range imageNames(r) {
		repository, _, _ := splitImage(name)
		tags[repository]++
	}
	for _, name := range imageNames(r) {
		repository, tag, digest := splitImage(name)
		if tags[repository] > 1 {
			continue
		}
		image := map[string]any{"name": repository}
		switch {
		case digest != "" && tag == "":
			image["digest"] = digest
		case tag != "" && digest == "":
			image["newTag"] = tag
		default: // kustomize would drop one of them
			image["newName"] = repository
		}
		images = append(images, image)
	}
	for _, s := range r.Services {
		if count, ok := replicasOf(s); ok {
			replicas = append(replicas, map[string]any{"name": s.Workload, "count": count})
		}
	}
	fields := map[string]any{"resources": []any{"../../base"}}
	if len(images) > 0 {
		fields["images"] = images
	}
	if len(replicas) > 0 {
		fields["replicas"] = replicas
	}
	files["overlays/prod/kustomization.yaml"] = kustomization("production: the base, with the images and replicas to set", fields)
}

// replicasOf is the count that a workload sets; an autoscaler leaves it open.
func replicasOf(s translate.Service) (int64, bool) {
	if s.Kind != "Deployment" && s.Kind != "StatefulSet" {
		return 0, false
	}
	for _, o := range s.Objects {
		if key := keyOf(o); key.kind == s.Kind && key.name == s.Workload {
			value, err := plain(o)
			if err != nil {
				return 0, false
			}
			count, ok := dig(value, "spec", "replicas").(int64)
			return count, ok
		}
	}
	return 0, false
}

// imageNames lists the images of all pods, sorted.
func imageNames(r translate.Result) []string {
	names := map[string]bool{}
	for _, image := range r.Images {
		names[image.Ref] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// splitImage takes an image name apart.
func splitImage(name string) (repository, tag, digest string) {
	repository, digest, _ = strings.Cut(name, "@")
	if i := strings.LastIndex(repository, ":"); i > strings.LastIndex(repository, "/") {
		repository, tag = repository[:i], repository[i+1:]
	}
	return repository, tag, digest
}

// kustomization is a kustomization.yaml.
func kustomization(comment string, fields map[string]any) []byte {
	fields["apiVersion"], fields["kind"] = "kustomize.config.k8s.io/v1beta1", "Kustomization"
	return append([]byte("# Written by berth translate: "+comment+".\n# Changes belong in an overlay of your own.\n"), yamlOf(fields)...)
}

func yamlOf(value any) []byte {
	var b bytes.Buffer
	writeYAML(&b, value, 0)
	return b.Bytes()
}

func anyList(items []string) []any {
	list := make([]any, len(items))
	for i, item := range items {
		list[i] = item
	}
	return list
}

// dig walks down maps by key.
func dig(value any, keys ...string) any {
	for _, key := range keys {
		m, _ := value.(map[string]any)
		value = m[key]
	}
	return value
}

// jsonPatch lists the operations of RFC 6902 that turn one value into another.
func jsonPatch(from, to any, at string) []any {
	if reflect.DeepEqual(from, to) {
		return nil
	}
	if a, ok := from.(map[string]any); ok {
		if b, ok := to.(map[string]any); ok {
			return patchMap(a, b, at)
		}
	}
	if a, ok := from.([]any); ok {
		if b, ok := to.([]any); ok && len(a) == len(b) {
			var ops []any
			for i := range a {
				ops = append(ops, jsonPatch(a[i], b[i], fmt.Sprintf("%s/%d", at, i))...)
			}
			return ops
		}
	}
	return []any{map[string]any{"op": "replace", "path": at, "value": to}}
}

func patchMap(a, b map[string]any, at string) []any {
	pointer := strings.NewReplacer("~", "~0", "/", "~1")
	all := maps.Clone(a)
	maps.Copy(all, b)
	var ops []any
	for _, key := range slices.Sorted(maps.Keys(all)) {
		next := at + "/" + pointer.Replace(key)
		_, had := a[key]
		_, has := b[key]
		switch {
		case !has:
			ops = append(ops, map[string]any{"op": "remove", "path": next})
		case !had:
			ops = append(ops, map[string]any{"op": "add", "path": next, "value": b[key]})
		default:
			ops = append(ops, jsonPatch(a[key], b[key], next)...)
		}
	}
	return ops
}
