// Package ingress puts the controller of Ingress class nginx into a cluster
// and waits until it answers on the host's port. It chooses among the
// controllers by what the engine and the node image hold.
//
// It must never create Ingress objects (translate does), publish compose ports
// (gateway does) or touch a controller that somebody else installed.
package ingress
