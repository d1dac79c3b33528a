package checkpoint

// A Message is one line of what the agent says while it works on a checkpoint.
type Message struct {
	Phase  string `json:"phase"`            // copied: the nodes may go on; done; failed
	Node   string `json:"node,omitempty"`   // whose state it is about
	Error  string `json:"error,omitempty"`  // why it failed
	Copied int64  `json:"copied,omitempty"` // bytes that were copied
	Linked int    `json:"linked,omitempty"` // files that were linked
	Files  int    `json:"files,omitempty"`  // files, directories and links, all together
	Free   int64  `json:"free,omitempty"`   // bytes free on the engine's disk
	Need   int64  `json:"need,omitempty"`   // bytes that had to be free; failed for lack of them
}

// The phases of a Message.
const (
	PhaseCopied = "copied"
	PhaseDone   = "done"
	PhaseFailed = "failed"
)

// A Node is the volume that holds a node's state.
type Node struct {
	Name   string
	Volume string // the engine's folder for the volume: its data and what is beside them
}
