package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// hashOf identifies a manifest by its content.
func hashOf(manifest *unstructured.Unstructured) (string, error) {
	raw, err := json.Marshal(manifest.Object) // maps are written sorted
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}

// upToDate reports whether applying manifest would change nothing: live was
// applied from the same manifest, and everything the manifest says still
// holds. When it errs, it errs towards false, which costs one request that
// changes nothing.
func upToDate(manifest, live *unstructured.Unstructured) bool {
	if live == nil || live.GetDeletionTimestamp() != nil {
		return false
	}
	hash := manifest.GetAnnotations()[annotationHash]
	if live.GetAnnotations()[annotationHash] != hash {
		return false
	}
	if stopped(live) {
		return live.GetAnnotations()[annotationFinished] == hash // it ran, and must not run again
	}
	return covers(live.Object, manifest.Object)
}

// covers reports whether have holds everything that want says. Maps may hold
// more; lists must match item by item.
func covers(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for key, w := range want {
			x, ok := h[key]
			if !ok || !covers(x, w) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(want) {
			return false
		}
		for i := range want {
			if !covers(h[i], want[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(have, want)
}
