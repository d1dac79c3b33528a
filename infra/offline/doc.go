// Package offline makes what berth needs on a machine that reaches no
// container registry: an engine, the node image, and stand-ins for the base
// images that Dockerfiles name, all from Debian packages and Go modules.
//
// Every step is kept in a cache under a key made from everything that goes
// into it, so that an unchanged step costs nothing and an interrupted build
// goes on where it stopped. The package never talks to a container registry,
// never names a mirror (Debian's comes from the machine's own apt sources,
// modules through the go command) and never replaces a real image by a
// stand-in.
package offline
