package templates

import "embed"

// Offline holds the texts of the offline kit: below offline/, a folder each
// for Go modules to build (modules, as go.mod.txt and go.sum.txt), the node
// image (node) and stand-in base images (bases).
//
//go:embed offline
var Offline embed.FS
