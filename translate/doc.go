// Package translate turns a compose project into Kubernetes objects and says,
// attribute by attribute, what became of the project.
//
// It is pure: the same Input and Target give the same Result, byte for byte.
// It reads no file, network, clock or environment, writes no log, starts no
// goroutine, and never changes its Input. What the outside world knows (files,
// image configurations, the cluster's abilities) is handed in.
package translate
