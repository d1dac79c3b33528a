package templates

import "embed"

// Ingress holds the manifests of the ingress controllers, ingress/<name>.yaml.
// Each is a Go template with one value, {{.Image}}.
//
//go:embed ingress
var Ingress embed.FS
