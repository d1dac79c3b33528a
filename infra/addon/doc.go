// Package addon is what the installers of a cluster's own parts share, the
// ingress controllers and the metrics server: which images the nodes have from
// the start, and manifests with the image filled in.
//
// It must never talk to a cluster.
package addon
