// Package layout keeps image layers on the host by digest, bounded in size,
// and turns archives into images and images into archives that hold only the
// layers somebody lacks. It knows files and the OCI and Docker archive
// formats; it must never talk to an engine or a cluster.
package layout
