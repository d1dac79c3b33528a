// Package names makes the DNS of a cluster that berth owns answer for the
// networks of compose projects: one zone a network, which its members search.
// What the zones hold is in the cluster, in the ConfigMap berth-names beside
// CoreDNS, so that it outlives berth, CoreDNS and the nodes.
package names
