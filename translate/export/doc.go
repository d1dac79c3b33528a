// Package export writes what a translation made: Kubernetes objects as YAML on
// a stream, as a folder of files, as a kustomization or as a Helm chart, and
// the report as a table or JSON. The same input gives the same bytes. It
// decides nothing about the objects, and writes only where it is told to.
package export
