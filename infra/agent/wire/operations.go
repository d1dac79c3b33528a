package wire

// The operations of the agent, with the types of their arguments and values.
// Paths are the node's unless said otherwise.
const (
	OpPing         = "ping"         // nothing -> nothing
	OpSnapshots    = "snapshots"    // nothing -> nothing; output: one committed snapshot key (chain ID) a line
	OpImages       = "images"       // nothing -> nothing; output: one Image a line, as JSON
	OpImportImage  = "image.import" // ImportArgs, body: OCI tar -> nothing
	OpTagImage     = "image.tag"    // TagArgs -> nothing
	OpRemoveImages = "image.remove" // RemoveArgs -> nothing
)

// Image is a name that the node's containerd knows.
type Image struct {
	Name   string `json:"name"`   // docker.io/library/web:dev
	Digest string `json:"digest"` // of its manifest or index
}

// ImportArgs says how to import an image.
type ImportArgs struct {
	Platform string `json:"platform"` // linux/amd64
}

// TagArgs gives an image another name.
type TagArgs struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// RemoveArgs lists images to remove; those that are not there are no error.
type RemoveArgs struct {
	Names []string `json:"names"`
}
