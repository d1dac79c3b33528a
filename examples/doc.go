// Package examples holds real compose projects, one folder each, and the tests
// that run every one of them on a real cluster with the berth binary. It has
// no code of its own.
package examples
