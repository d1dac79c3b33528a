package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// foreignParts completes deps for the cluster of --context, which berth did not
// create: its images come out of a registry, or are loaded into its nodes where
// these are containers of the engine, and this machine serves none of its ports.
func (app *App) foreignParts(ctx context.Context, engine *docker.Client, s *session, deps *devloop.Deps, opts sessionOptions) error {
	nodes, err := app.foreignNodes(ctx, s.kube)
	if err != nil {
		return err
	}
	if err := defaultPlatformFits(s.input.Project, platformsOf(nodes)); err != nil {
		return err
	}
	deps.Target = translate.Target{Kind: translate.Portable, IngressDomain: "localhost", Nodes: len(nodes)}
	deps.Publisher = &unpublished{context: app.global.context, kube: s.kube}
	if err := app.foreignImages(ctx, engine, s, deps, nodes); err != nil {
		return err
	}
	deps.Syncer, err = app.foreignSyncer(ctx, newSyncer(engine, s), s, deps, nodes, opts)
	return err
}

// foreignImages says how images come to the nodes.
func (app *App) foreignImages(ctx context.Context, engine *docker.Client, s *session, deps *devloop.Deps, nodes []corev1.Node) error {
	registry, found, err := app.foreignRegistry(ctx, s.kube)
	if err != nil {
		return err
	}
	if app.global.pullSecret {
		deps.Translate = (&pullSecret{registry: registry, translate: deps.Translate, sink: app.sink()}).withSecret
	}
	if !found {
		if s.nodes, err = app.kindNodes(ctx, engine, nodes); err != nil {
			return err
		}
		if len(s.nodes) > 0 {
			s.live = newLiveNodes(engine, strings.TrimPrefix(app.global.context, "kind-"), s.nodes)
			onNodes := s.nodeImages(deps)
			deps.Images, deps.Loader = onNodes, onNodes
			return nil
		}
	}
	deps.Target.Pushed = registry.Prefix != ""
	registry.Platforms = platformsOf(nodes)
	inEngine := engineImages{s.images}
	through := &registryImages{engineImages: inEngine, registry: registry, context: app.global.context, pushed: map[string]pushedImage{}}
	if through.own, err = s.images.Platform(ctx); err != nil {
		return err
	}
	deps.Images, deps.Loader = through, through
	return nil
}

// foreignRegistry is the registry of --registry, or the one that the cluster
// says it has for images of its users.
func (app *App) foreignRegistry(ctx context.Context, cluster *kube.Client) (image.Registry, bool, error) {
	if prefix := app.global.registry; prefix != "" {
		return image.Registry{Prefix: prefix, Insecure: app.global.insecure}, true, nil
	}
	r, found, err := image.HostedRegistry(ctx, cluster)
	if apierrors.IsForbidden(err) {
		return image.Registry{}, false, nil // it is public where it is used at all
	}
	if found {
		progress.Say(app.sink(), progress.Note, "registry "+r.Prefix, "the cluster names it for images of its users")
	}
	return r, found, err
}

// foreignNodes lists the nodes that take pods; none where the user may not ask.
func (app *App) foreignNodes(ctx context.Context, cluster *kube.Client) ([]corev1.Node, error) {
	all, err := kube.List[corev1.Node](ctx, cluster, "", "")
	if apierrors.IsForbidden(err) {
		progress.Say(app.sink(), progress.Note, "", "you may not list the cluster's nodes: images are for the engine's own platform")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(n corev1.Node) bool {
		return n.Spec.Unschedulable || len(all) > 1 && slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
			return t.Key == "node-role.kubernetes.io/control-plane" && t.Effect == corev1.TaintEffectNoSchedule
		})
	}), nil
}

// platformsOf lists the platforms of nodes, sorted.
func platformsOf(nodes []corev1.Node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.Status.NodeInfo.OperatingSystem+"/"+n.Status.NodeInfo.Architecture)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// kindNodes are the nodes of --context's cluster if that is a kind cluster of
// this engine: then no registry is needed.
func (app *App) kindNodes(ctx context.Context, engine *docker.Client, known []corev1.Node) ([]*image.KindNode, error) {
	name, ok := strings.CutPrefix(app.global.context, "kind-")
	if !ok {
		return nil, nil
	}
	nodes, err := image.NodesOf(ctx, engine, name)
	if err != nil {
		return nil, err
	}
	for _, n := range known { // another engine may have a cluster of this name
		if !slices.ContainsFunc(nodes, func(k *image.KindNode) bool { return k.Name() == n.Name }) {
			return nil, nil
		}
	}
	return nodes, nil
}

// unpublished says how ports can be reached that nothing on this machine serves.
type unpublished struct {
	context string
	kube    *kube.Client
}

// Publish publishes nothing.
func (u *unpublished) Publish(ctx context.Context, ports []model.PublishedPort, sink progress.Sink) ([]model.PublishedPort, error) {
	var ways []string
	for _, p := range ports {
		if p.Protocol != "udp" {
			ways = append(ways, fmt.Sprintf("berth --context %s port-forward %s %d:%d", u.context, p.Service, p.HostPort, p.Target))
		}
	}
	if len(ways) > 0 {
		progress.Say(sink, progress.Note, "publish ports", "this machine publishes no ports of the cluster; reach them with `"+strings.Join(ways, "`, `")+"`")
	}
	return nil, u.checkIngress(ctx, sink)
}

// checkIngress warns when nobody takes care of the project's Ingresses.
func (u *unpublished) checkIngress(ctx context.Context, sink progress.Sink) error {
	classes, err := kube.List[networkingv1.IngressClass](ctx, u.kube, "", "")
	if apierrors.IsForbidden(err) {
		return nil
	}
	if err == nil && !slices.ContainsFunc(classes, func(c networkingv1.IngressClass) bool { return c.Name == "nginx" }) {
		progress.Say(sink, progress.Warn, "ingress", `the cluster has no IngressClass "nginx": the project's Ingresses wait for a controller of that class`)
	}
	return err
}

// downForeign removes what up made on the cluster of --context, and nothing on
// this machine but, where asked, images.
func (app *App) downForeign(ctx context.Context, project string, opts downOptions) error {
	client, err := app.kube()
	if err != nil {
		return err
	}
	if err := deleteProject(ctx, apply.New(client, project, translate.Namespace(project), app.sink()), opts); err != nil {
		return err
	}
	if opts.rmi != "local" {
		return nil
	}
	return app.forgetImages(ctx, project, strings.TrimPrefix(app.global.context, "kind-"))
}
