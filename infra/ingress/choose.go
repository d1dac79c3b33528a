package ingress

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/addon"
	"github.com/berth-dev/berth/infra/problem"
)

// A Kind is one of the controllers berth can install.
type Kind string

// The controllers. Auto chooses one.
const (
	Auto    Kind = "auto"
	Nginx   Kind = "ingress-nginx" // the official controller
	Traefik Kind = "traefik"       // Traefik with its provider for ingress-nginx's Ingresses
	None    Kind = "none"
)

// Kinds lists what a user may ask for.
var Kinds = []string{string(Auto), string(Nginx), string(Traefik), string(None)}

// nginxImage is the official controller. The project was retired upstream in
// March 2026; this is its last release.
const nginxImage = "registry.k8s.io/ingress-nginx/controller:v1.15.1"

// A Controller is a choice: what to install, from which image, and why.
type Controller struct {
	Kind   Kind
	Image  string
	Reason string // for people
}

// Choose settles the controller for a cluster of the given node image. A node
// image of the offline kit brings Traefik along; any other gets the official
// controller, which the nodes pull.
func Choose(ctx context.Context, engine addon.Inspector, want Kind, nodeImage string) (Controller, error) {
	if want == "" {
		want = Auto
	}
	if !slices.Contains(Kinds, string(want)) {
		return Controller{}, problem.New(fmt.Sprintf("unknown ingress controller %q", want), nil, "known: "+strings.Join(Kinds, ", "))
	}
	if want == None {
		return Controller{Kind: None, Reason: "asked for"}, nil
	}
	onNode, err := addon.ImagesOf(ctx, engine, nodeImage)
	if err != nil {
		return Controller{}, err
	}
	offline := len(onNode) > 0
	traefik := onNode.Find("traefik")
	nginx := onNode.Find("ingress-nginx/controller")
	switch {
	case want == Traefik && traefik == "" && offline, want == Nginx && nginx == "" && offline:
		return Controller{}, problem.New(fmt.Sprintf("install %s", want),
			fmt.Errorf("node image %q does not hold it, and it was made for machines without a registry", nodeImage),
			"leave out --ingress, or use a node image from a registry with --node-image")
	case want == Traefik && traefik == "":
		return Controller{Kind: Traefik, Image: traefikImage, Reason: "asked for; the node pulls it"}, nil
	case want == Traefik:
		return Controller{Kind: Traefik, Image: traefik, Reason: "asked for; the node image holds it"}, nil
	case want == Auto && nginx == "" && traefik != "":
		return Controller{Kind: Traefik, Image: traefik, Reason: "the node image of the offline kit holds it and not ingress-nginx"}, nil
	case want == Auto && nginx == "" && offline:
		return Controller{Kind: None, Reason: "the node image of the offline kit holds no controller"}, nil
	case nginx != "":
		return Controller{Kind: Nginx, Image: nginx, Reason: "the node image holds it"}, nil
	case want == Nginx:
		return Controller{Kind: Nginx, Image: nginxImage, Reason: "asked for; the node pulls it"}, nil
	}
	return Controller{Kind: Nginx, Image: nginxImage, Reason: "the node pulls the official image"}, nil
}

// traefikImage is pulled where Traefik was asked for and is not on the node.
const traefikImage = "docker.io/library/traefik:v3.7.13"
