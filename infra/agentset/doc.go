// Package agentset puts the node agent onto a cluster that berth did not create,
// as a DaemonSet in a namespace of its own, and takes it away again. berth starts
// the agent's server in its pods through the API server.
//
// It must never stay longer than the berth that asked for it.
package agentset
