package cluster

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
)

// loadBalancerImage is what kind runs in front of several control planes. kind
// keeps the name to itself; a test compares.
const loadBalancerImage = "docker.io/envoyproxy/envoy:v1.36.2"

// versionFile is where a node image says, in one line, what Kubernetes it has.
const versionFile = "/kind/version"

// chooseImage settles the node image: the one asked for; else a bundle's; else
// kind's own where the engine holds it; else the offline kit's; else kind's own,
// pulled.
func (m *Manager) chooseImage(ctx context.Context, s Spec, n *narrator) (Spec, *version.Version, error) {
	candidates := []string{s.NodeImage}
	if s.NodeImage == "" {
		candidates = m.imageCandidates(s.KubernetesVersion)
	}
	for _, image := range candidates {
		v, found, err := m.imageVersion(ctx, image)
		if err != nil {
			return s, nil, err
		}
		if found && (s.KubernetesVersion == "" || s.KubernetesVersion == "v"+v.String()) {
			s.NodeImage, s.KubernetesVersion = image, "v"+v.String()
			return s, v, nil
		}
		if found && image == s.NodeImage {
			return s, nil, problem.New(fmt.Sprintf("create cluster %q with Kubernetes %s", s.Name, s.KubernetesVersion),
				fmt.Errorf("node image %q has v%s", image, v), "leave out --kubernetes-version or --node-image")
		}
	}
	image := s.NodeImage
	if image == "" {
		image = defaults.Image
		if s.KubernetesVersion != "" {
			image = kindImage(s.KubernetesVersion)
		}
	}
	if err := m.pull(ctx, image, n); err != nil {
		return s, nil, problem.New("get node image "+quoted(image), err,
			"check the name and the connection; without a registry, `berth offline build` makes a node image on this machine")
	}
	s.NodeImage = image
	v, found, err := m.imageVersion(ctx, image)
	if err == nil && !found {
		err = fmt.Errorf("image %q is not in the engine after it was pulled", image)
	}
	if err != nil {
		return s, nil, err
	}
	s.KubernetesVersion = "v" + v.String()
	return s, v, nil
}

// LoadedImage is the name under which a bundle's node image is used, before all
// others.
const LoadedImage = "berth/node:bundle"

// NodeImage says which node image a cluster would be created from, without a
// digest, and whether the engine holds it. kubernetes is "" for any version.
func (m *Manager) NodeImage(ctx context.Context, kubernetes string) (name string, held bool, err error) {
	for _, image := range m.imageCandidates(kubernetes) {
		fits := true
		if _, held, err = m.engine.ImageInfo(ctx, image); err == nil && held && kubernetes != "" {
			var v *version.Version
			v, held, err = m.imageVersion(ctx, image)
			fits = err == nil && held && "v"+v.String() == kubernetes
		}
		if err != nil || held && fits {
			return withoutDigest(image), held, err
		}
	}
	if kubernetes != "" {
		return kindImage(kubernetes), false, nil
	}
	return withoutDigest(defaults.Image), false, nil
}

// kindImage is kind's own node image of a version.
func kindImage(kubernetes string) string { return "kindest/node:" + kubernetes }

// imageCandidates lists node images that may be in the engine already, best
// first.
func (m *Manager) imageCandidates(kubernetes string) []string {
	images := []string{LoadedImage, defaults.Image, withoutDigest(defaults.Image)}
	if kubernetes != "" {
		images = append(images, kindImage(kubernetes))
	}
	return append(images, m.localImages...)
}

func withoutDigest(image string) string {
	name, _, _ := strings.Cut(image, "@")
	return name
}

func quoted(image string) string { return fmt.Sprintf("%q", withoutDigest(image)) }

// imageVersion reads the Kubernetes version of a node image that the engine
// holds; found is false when it does not.
func (m *Manager) imageVersion(ctx context.Context, image string) (v *version.Version, found bool, err error) {
	_, found, err = m.engine.InspectImage(ctx, image)
	if err != nil || !found {
		return nil, false, err
	}
	text, err := m.engine.ReadImageFile(ctx, image, versionFile)
	if err != nil {
		return nil, true, problem.New("use node image "+quoted(image), err, "a kind node image is needed, such as "+quoted(defaults.Image))
	}
	v, err = parseVersion(string(text))
	return v, true, err
}

// pull fetches an image and says how far it is.
func (m *Manager) pull(ctx context.Context, image string, n *narrator) error {
	n.say("pulling " + withoutDigest(image))
	layers := map[string]docker.LayerProgress{}
	return m.engine.PullImage(ctx, image, "", func(p docker.LayerProgress) {
		if p.Status != "Downloading" || p.Total == 0 {
			return
		}
		layers[p.ID] = p
		var current, total int64
		for _, l := range layers {
			current, total = current+l.Current, total+l.Total
		}
		n.task.Progress(current, total)
	})
}

// needLoadBalancer makes sure that a cluster with several control planes can
// have the load balancer kind puts in front of them.
func (m *Manager) needLoadBalancer(ctx context.Context, s Spec, n *narrator) error {
	if s.ControlPlanes < 2 {
		return nil
	}
	_, found, err := m.engine.InspectImage(ctx, loadBalancerImage)
	if err != nil || found {
		return err
	}
	if err := m.pull(ctx, loadBalancerImage, n); err != nil {
		return problem.New(fmt.Sprintf("create cluster %q with %d control planes", s.Name, s.ControlPlanes),
			fmt.Errorf("kind puts a load balancer in front of them, and its image %q cannot be had: %w", loadBalancerImage, err),
			"use one control plane; the offline kit cannot build that image")
	}
	return nil
}
