// Package agent drives the node agent: it carries the embedded berth-agent
// binary into a node's container and talks to it over one `docker exec` stream.
// Nothing listens on a port, and the agent lives no longer than the stream. On
// clusters that berth did not create infra/agentset brings it.
//
// The packages below it are the node's side (the berth-agent binary imports
// them and nothing else of ours): wire is the protocol both sides speak, serve
// its server, proxy the gateway's forwarder, supervise the PID 1 of services
// under `berth dev`, volume the first copy into a volume, rootfs the confined
// writes into containers.
package agent
