package templates

import "embed"

// Agent holds the manifest of the node agent for clusters that berth did not
// create, agent/daemonset.yaml: a Go template with one value, {{.Image}}.
//
//go:embed agent
var Agent embed.FS
