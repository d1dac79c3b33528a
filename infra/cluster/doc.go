// Package cluster makes, describes, starts, stops and deletes kind clusters.
// It is the one importer of sigs.k8s.io/kind. Every operation can be
// interrupted at any point and run again.
//
// It must never touch a cluster that berth did not create (but to describe,
// start, stop or delete it when told to by name), know compose or translate,
// or decide which ingress controller a cluster gets: work to be done beside
// kind's own is handed in as a Step.
package cluster
