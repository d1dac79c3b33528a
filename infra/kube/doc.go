// Package kube is the one importer of k8s.io/client-go. It offers the rest of
// infra the few things berth asks of a cluster: apply, get, list, delete,
// patch and watch objects, stream logs, run commands in containers, forward
// ports. It talks plain REST with JSON, so that neither the typed clientset
// nor discovery is needed for the kinds berth knows.
//
// It must never know compose, translate or the engine, and never decide what
// to apply, to wait for or to delete.
package kube
