// Package apply brings a project's objects into a cluster and tells how they
// do: server-side apply in order, an inventory of what was applied (an
// ApplySet, KEP-3659), prune, delete, wait with reasons, observe, scale,
// restart, stop, start and roll back.
//
// It must never translate compose, build or load images, or decide when a
// service is due: it does what it is told and says what became of it.
package apply
