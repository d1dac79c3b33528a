package agentset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/berth-dev/berth/infra/addon"
	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/templates"
)

// Namespace is where the agent's pods run, and the name of their DaemonSet and of
// its Secret.
const Namespace = "berth-agent"

// A Set is the agent on the nodes of one cluster. It is safe for concurrent use.
type Set struct {
	client  *kube.Client
	project *apply.Project
	objects []model.Object

	installing sync.Mutex // held by whoever installs

	mu    sync.Mutex
	nodes map[string]*agent.Node // connected
}

// Options are what the agent is installed with.
type Options struct {
	Image      string        // of the agent, as the cluster's pods call it
	PullSecret []byte        // what nodes pull it with, a dockerconfigjson; nil for nothing
	Nodes      []corev1.Node // those that run pods
}

// New is the agent of a cluster. Nothing is installed yet.
func New(client *kube.Client, o Options, sink progress.Sink) (*Set, error) {
	objects, err := addon.Objects(templates.Agent, "agent/daemonset.yaml", o.Image)
	if err != nil {
		return nil, err
	}
	last := len(objects) - 1
	set := &appsv1.DaemonSet{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects[last].(*unstructured.Unstructured).Object, set); err != nil {
		return nil, err
	}
	objects[last] = set
	pod := &set.Spec.Template.Spec
	pod.Tolerations = tolerations(o.Nodes)
	if o.PullSecret != nil {
		pod.ImagePullSecrets = []corev1.LocalObjectReference{{Name: Namespace}}
		objects = append(objects, pullSecret(o.PullSecret))
	}
	return &Set{client: client, project: apply.New(client, "", Namespace, sink), objects: objects, nodes: map[string]*agent.Node{}}, nil
}

func pullSecret(config []byte) model.Object {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: Namespace, Namespace: Namespace},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: config},
	}
}

// tolerations are those by which pods come to all of the nodes, and no others.
func tolerations(nodes []corev1.Node) []corev1.Toleration {
	var list []corev1.Toleration
	for _, n := range nodes {
		for _, taint := range n.Spec.Taints {
			t := corev1.Toleration{Key: taint.Key, Operator: corev1.TolerationOpExists, Effect: taint.Effect}
			if !slices.Contains(list, t) {
				list = append(list, t)
			}
		}
	}
	return list
}

// Start puts the agent onto the nodes and returns when it answers on all of them.
func (s *Set) Start(ctx context.Context) error {
	if err := s.install(ctx); err != nil {
		return err
	}
	pods, err := s.pods(ctx)
	errs := make([]error, len(pods))
	var connecting sync.WaitGroup
	for i, p := range pods {
		if p.DeletionTimestamp == nil && p.Spec.NodeName != "" {
			connecting.Go(func() { _, errs[i] = s.Node(ctx, p.Spec.NodeName) })
		}
	}
	connecting.Wait()
	return errors.Join(append(errs, err)...)
}

// install puts the agent onto the nodes and returns when it runs on all of them.
// What another berth left, or uses, becomes this one's.
func (s *Set) install(ctx context.Context) error {
	s.installing.Lock()
	defer s.installing.Unlock()
	if _, err := s.project.Apply(ctx, s.objects); err != nil {
		return err
	}
	return s.awaitRunning(ctx)
}

// Remove takes the agent away, whoever installed it, and returns when the cluster
// has agreed to. Another berth that uses it installs it again.
func (s *Set) Remove(ctx context.Context) error {
	s.mu.Lock()
	var errs []error
	for _, n := range s.nodes {
		errs = append(errs, n.Close())
	}
	s.mu.Unlock()
	err := s.client.Delete(ctx, model.ObjectKey{Kind: "Namespace", Name: Namespace}, kube.DeleteOptions{})
	if kube.IsNotFound(err) {
		err = nil
	}
	return errors.Join(append(errs, err)...)
}

// Node is the agent of one node, connected when it is first asked for. An agent
// that has been taken away is installed again.
func (s *Set) Node(ctx context.Context, name string) (*agent.Node, error) {
	s.mu.Lock()
	n := s.nodes[name]
	s.mu.Unlock()
	if n != nil {
		return n, nil
	}
	n, err := agent.ConnectOver(ctx, name, func(ctx context.Context) (io.ReadWriteCloser, error) { return s.dial(ctx, name) })
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.nodes[name]; first != nil { // somebody was faster
		return first, n.Close()
	}
	s.nodes[name] = n
	return n, nil
}

// dial starts the agent's server on a node.
func (s *Set) dial(ctx context.Context, node string) (io.ReadWriteCloser, error) {
	pod, err := s.podOn(ctx, node)
	if err == nil && pod == "" {
		if err = s.install(ctx); err == nil {
			pod, err = s.podOn(ctx, node)
		}
	}
	if err == nil && pod == "" {
		err = errors.New("no pod of the agent runs there")
	}
	if err != nil {
		return nil, err
	}
	return s.client.Pipe(ctx, Namespace, pod, []string{"/berth-agent", "serve", "--root", "/host"}), nil
}

// podOn names the agent's pod on a node, "" while none runs.
func (s *Set) podOn(ctx context.Context, node string) (string, error) {
	pods, err := s.pods(ctx)
	for _, p := range pods {
		if p.Spec.NodeName == node && p.DeletionTimestamp == nil && running(p) {
			return p.Name, nil
		}
	}
	return "", err
}

func (s *Set) pods(ctx context.Context) ([]corev1.Pod, error) {
	return kube.List[corev1.Pod](ctx, s.client, Namespace, "app.kubernetes.io/name="+Namespace)
}

func running(p corev1.Pod) bool {
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Running == nil {
			return false
		}
	}
	return len(p.Status.ContainerStatuses) > 0
}

// Times of waiting for the agent's pods: their image may have to be pulled.
const (
	runsWithin = 90 * time.Second
	looksEvery = 200 * time.Millisecond
)

// awaitRunning waits until the pods run on all nodes.
func (s *Set) awaitRunning(ctx context.Context) error {
	waiting, cancel := context.WithTimeoutCause(ctx, runsWithin, fmt.Errorf("its pods do not run after %s", runsWithin))
	defer cancel()
	tick := time.NewTicker(looksEvery)
	defer tick.Stop()
	for {
		set, err := kube.Get[appsv1.DaemonSet](waiting, s.client, Namespace, Namespace)
		switch {
		case err == nil && runsEverywhere(set):
			return nil
		case err == nil:
			err = s.trouble(waiting, set)
		}
		var refused *refusal
		if errors.As(err, &refused) || apierrors.IsForbidden(err) {
			return err
		}
		select {
		case <-tick.C:
		case <-waiting.Done():
			return errors.Join(context.Cause(waiting), err)
		}
	}
}

func runsEverywhere(d *appsv1.DaemonSet) bool {
	st := d.Status
	return st.ObservedGeneration == d.Generation && st.DesiredNumberScheduled > 0 &&
		st.UpdatedNumberScheduled == st.DesiredNumberScheduled && st.NumberReady == st.DesiredNumberScheduled
}

// A refusal is a reason for which the pods will not run, however long one waits.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// trouble is why pods of the set do not run, where the cluster says: a refusal
// that stays, else nil.
func (s *Set) trouble(ctx context.Context, set *appsv1.DaemonSet) error {
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		for _, c := range p.Status.ContainerStatuses {
			switch w := c.State.Waiting; {
			case w == nil:
			case w.Reason == "CrashLoopBackOff":
				return &refusal{fmt.Sprintf("it ends at once on node %q: %s", p.Spec.NodeName, w.Message)}
			case strings.HasPrefix(w.Reason, "ErrImage"), w.Reason == "ImagePullBackOff", w.Reason == "InvalidImageName":
				return &refusal{fmt.Sprintf("node %q cannot get its image: %s", p.Spec.NodeName, w.Message)}
			}
		}
	}
	if len(pods) > 0 {
		return nil
	}
	events, err := kube.List[corev1.Event](ctx, s.client, Namespace, "")
	for _, e := range events {
		if e.InvolvedObject.UID == set.UID && e.Reason == "FailedCreate" && refuses(e.Message) {
			return &refusal{"the cluster refuses its pods: " + e.Message}
		}
	}
	return err
}

// refuses tells an admission's answer from a namespace that is not complete yet.
func refuses(message string) bool {
	return strings.Contains(message, "violates PodSecurity") || strings.Contains(message, "denied the request")
}
