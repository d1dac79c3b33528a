package bundle

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// Format is the version of the format that this berth writes, and the newest
// that it reads.
const Format = 1

// What stands in a bundle beside the blobs of an OCI image layout
// (image-spec 1.1).
const (
	signatureFile = "index.json.minisig"             // of index.json, as minisign writes it
	layoutVersion = `{"imageLayoutVersion":"1.0.0"}` // what the file oci-layout holds

	annotationFormat = "dev.berth.bundle.format"
	artifactType     = "application/vnd.berth.bundle.v1"
	contentsType     = "application/vnd.berth.bundle.contents.v1+json"
	fileType         = "application/vnd.berth.bundle.file.v1"
)

// Contents say what is in a bundle.
type Contents struct {
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	Berth    string    `json:"berth"`    // version that made it
	Platform string    `json:"platform"` // of the images: linux/amd64
	Images   []Image   `json:"images"`
	Files    []File    `json:"files"`
	Size     int64     `json:"size"` // bytes of all blobs, uncompressed
}

// An Image is an image in a bundle.
type Image struct {
	Ref    string        `json:"ref"`
	Use    Use           `json:"use"`
	Digest digest.Digest `json:"digest"` // of its manifest
	Size   int64         `json:"size"`   // bytes of its layers; some may be other images', too
}

// A Use says what an image is for.
type Use string

// The uses of images.
const (
	UseNode    Use = "node"    // runs the cluster
	UseIngress Use = "ingress" // the ingress controller
	UseMetrics Use = "metrics" // the metrics server
	UseProject Use = "project" // pods run it
	UseBase    Use = "base"    // builds start from it
)

// A File is something else in a bundle.
type File struct {
	Kind     Kind          `json:"kind"`
	Platform string        `json:"platform,omitempty"` // of a berth: linux/amd64
	Digest   digest.Digest `json:"digest"`
	Size     int64         `json:"size"`
}

// A Kind says what a File is.
type Kind string

// The kinds of files.
const (
	KindProject  Kind = "project"  // tar of the project's folder
	KindWorkshop Kind = "workshop" // tar of the workshop's folder
	KindBerth    Kind = "berth"    // berth itself, for one platform
)
