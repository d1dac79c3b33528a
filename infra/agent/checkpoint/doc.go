// Package checkpoint saves the state of a cluster's nodes, which is one volume
// each, and puts it back. It runs as root where the engine keeps its volumes,
// while no process of the nodes runs. Image layers, which never change, are
// hard-linked between a node and its checkpoints; everything else is copied.
//
// Bringing a checkpoint back has three parts, so that a node is without its
// state for no longer than a rename takes, and so that each can be interrupted
// and done again: Prepare builds the state beside the node's own, Swap puts it
// in place, Clean removes what was there before.
package checkpoint
