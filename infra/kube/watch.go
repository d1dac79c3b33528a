package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/model"
)

// A Change is one thing a watch saw. Exactly one of its cases holds: an object
// is there or was changed; Deleted: it is gone; Synced: all that exists has
// been reported, or, after an Err, the watch goes on; Err: the watch broke and
// goes on by itself.
type Change[P any] struct {
	Object  P
	Deleted bool
	Synced  bool
	Err     error
}

// Watch reports every object of a Go type in a namespace ("" for all) that a
// label selector chooses, now and as they change, until ctx ends. It survives
// a restart of the API server: it lists again and reports as deleted what
// vanished meanwhile. It calls handle from one goroutine and returns only
// ctx's error, or one that trying again cannot cure: a server that refuses the
// first list. Later a refusal passes: a server that has just been started
// answers before it knows who may do what.
func Watch[T any, P Typed[T]](ctx context.Context, c *Client, namespace, selector string, handle func(Change[P])) error {
	gk, err := c.KindOf(P(new(T)))
	if err != nil {
		return err
	}
	w := &watcher[T, P]{
		client: c, key: model.ObjectKey{Group: gk.Group, Kind: gk.Kind, Namespace: namespace},
		selector: selector, handle: handle, known: map[types.UID]P{},
	}
	delay := 100 * time.Millisecond
	for {
		started := time.Now()
		err := w.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		refused := apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) || apierrors.IsBadRequest(err)
		if refused && !w.listed {
			return err
		}
		if err != nil {
			w.broken = true
			handle(Change[P]{Err: err})
		}
		if time.Since(started) > 10*time.Second {
			delay = 100 * time.Millisecond
		}
		if err := sleep(ctx, delay/2+rand.N(delay)); err != nil {
			return err
		}
		delay = min(2*delay, 5*time.Second)
	}
}

type watcher[T any, P Typed[T]] struct {
	client   *Client
	key      model.ObjectKey
	selector string
	handle   func(Change[P])
	known    map[types.UID]P
	version  string // resource version to go on from; "" to list first
	listed   bool   // once at least
	broken   bool   // since the last Synced
}

// run lists when it must and follows one watch request to its end.
func (w *watcher[T, P]) run(ctx context.Context) error {
	if w.version == "" {
		if err := w.list(ctx); err != nil {
			return err
		}
	}
	path, err := w.client.path(ctx, w.key)
	if err != nil {
		return err
	}
	r := w.client.rest.Get().AbsPath(path).Param("watch", "true").Param("allowWatchBookmarks", "true").
		Param("resourceVersion", w.version).Param("timeoutSeconds", "1800")
	if w.selector != "" {
		r = r.Param("labelSelector", w.selector)
	}
	stream, err := r.Stream(ctx)
	if err != nil {
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			w.version = ""
		}
		return err
	}
	defer stream.Close()
	if w.broken {
		w.synced()
	}
	return w.follow(json.NewDecoder(stream))
}

func (w *watcher[T, P]) list(ctx context.Context) error {
	items, version, err := list[T](ctx, w.client, w.key, w.selector)
	if err != nil {
		return err
	}
	gone := w.known
	w.known = make(map[types.UID]P, len(items))
	for i := range items {
		obj := P(&items[i])
		delete(gone, obj.GetUID())
		w.known[obj.GetUID()] = obj
		w.handle(Change[P]{Object: obj})
	}
	for _, obj := range gone {
		w.handle(Change[P]{Object: obj, Deleted: true})
	}
	w.version, w.listed = version, true
	w.synced()
	return nil
}

func (w *watcher[T, P]) synced() {
	w.broken = false
	w.handle(Change[P]{Synced: true})
}

// follow handles the events of one watch request until it ends.
func (w *watcher[T, P]) follow(events *json.Decoder) error {
	for {
		var e struct {
			Type   string
			Object json.RawMessage
		}
		if err := events.Decode(&e); err != nil {
			if errors.Is(err, io.EOF) {
				return nil // the server ends every watch after a while
			}
			return err
		}
		if e.Type == "ERROR" {
			var status metav1.Status
			if err := json.Unmarshal(e.Object, &status); err != nil {
				return err
			}
			w.version = ""
			return apierrors.FromObject(&status)
		}
		obj := P(new(T))
		if err := json.Unmarshal(e.Object, obj); err != nil {
			return err
		}
		w.version = obj.GetResourceVersion()
		switch e.Type {
		case "ADDED", "MODIFIED":
			w.known[obj.GetUID()] = obj
			w.handle(Change[P]{Object: obj})
		case "DELETED":
			delete(w.known, obj.GetUID())
			w.handle(Change[P]{Object: obj, Deleted: true})
		}
	}
}

// EventTime is when an event was last seen.
func EventTime(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}
