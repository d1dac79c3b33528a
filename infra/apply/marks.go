package apply

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/model"
)

// marks remember which generation of each workload this process has made. A
// watch may lag behind, and what it shows must not pass for the outcome of a
// change that it has not seen.
type marks struct {
	mu    sync.Mutex
	byKey map[model.ObjectKey]mark
}

type mark struct {
	uid        types.UID
	generation int64
	created    time.Time
}

// set notes an object as the API server has just returned it.
func (m *marks) set(key model.ObjectKey, o metav1.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byKey == nil {
		m.byKey = map[model.ObjectKey]mark{}
	}
	m.byKey[key] = mark{uid: o.GetUID(), generation: o.GetGeneration(), created: o.GetCreationTimestamp().Time}
}

// behind reports whether o is older than what this process has made of it. One
// that was made anew by somebody else since is not.
func (m *marks) behind(key model.ObjectKey, o metav1.Object) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	made, ok := m.byKey[key]
	switch {
	case !ok:
		return false
	case o.GetUID() != made.uid:
		return !o.GetCreationTimestamp().After(made.created)
	}
	return o.GetGeneration() < made.generation
}
