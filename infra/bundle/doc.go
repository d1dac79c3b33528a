// Package bundle packs images and files into one file and reads it back: an
// OCI image layout in a tar, compressed as a whole with zstd, every blob once
// and named by its digest. A minisign signature of the layout's index covers
// all of it. The package knows no engine and no cluster: blobs come from and go
// to an image store.
package bundle
