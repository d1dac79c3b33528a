// Package proxy forwards TCP connections and UDP datagrams from the listeners
// of a project's gateway container to the NodePorts of a cluster. It knows
// nothing of Docker or Kubernetes, uses the standard library alone, and never
// sends a byte that no client sent: a UDP service must not be probed.
package proxy
