// Package metrics puts a metrics server into a cluster that berth created:
// HorizontalPodAutoscalers, and kubectl top, read what pods use from it.
//
// It must never replace one that somebody else installed.
package metrics
