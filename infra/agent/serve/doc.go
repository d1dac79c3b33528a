// Package serve is the node's side of the agent's protocol: what each operation
// does, on Linux, as root of a node. It runs no shell and keeps nothing between
// two streams.
package serve
