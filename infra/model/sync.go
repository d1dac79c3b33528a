package model

// FileSync is one file operation inside a container. Operations are carried
// out in the order they are given.
type FileSync struct {
	Source string // absolute path on the host; "" for a removal
	Target string // absolute path inside the container
	Op     FileOp // FileWritten also makes directories and symlinks, as Source is one
}

// ExecSpec is a command to run inside a container.
type ExecSpec struct {
	Command    []string
	User       string // "" for the container's
	WorkingDir string // "" for the container's
	Env        []string
	Privileged bool
}
