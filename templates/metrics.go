package templates

import "embed"

// Metrics holds the manifest of the metrics server,
// metrics/metrics-server.yaml: a Go template with one value, {{.Image}}.
//
//go:embed metrics
var Metrics embed.FS
