package wire

import "io/fs"

// The operations of the agent, with the types of their arguments and values.
// Paths are the node's unless said otherwise.
const (
	OpPing       = "ping"       // nothing -> nothing
	OpSync       = "sync"       // SyncArgs, body: what WriteFile writes -> SyncValue
	OpSupervisor = "supervisor" // SupervisorArgs -> SupervisorValue
	OpLogs       = "logs"       // LogsArgs, body: empty -> nothing; output: lines as the CRI writes them
	OpSignal     = "signal"     // SignalArgs -> nothing
	OpProcesses  = "processes"  // ProcessesArgs -> nothing; output: one Process a line, as JSON
	OpStat       = "stat"       // StatArgs -> StatValue
	OpArchive    = "archive"    // ArchiveArgs -> nothing; output: tar
	OpExtract    = "extract"    // ExtractArgs, body: tar -> ExtractValue
	OpPorts      = "ports"      // PortsArgs -> PortsValue
	OpSuccessor  = "successor"  // SuccessorArgs -> SuccessorValue, when there is one
)

// SyncArgs names the container whose files change.
type SyncArgs struct {
	Container string `json:"container"` // containerd id
}

// SyncValue counts what was done.
type SyncValue struct {
	Written int   `json:"written"` // files, directories and links
	Removed int   `json:"removed"`
	Bytes   int64 `json:"bytes"`
}

// SupervisorArgs is a request to the supervisor of a container.
type SupervisorArgs struct {
	Container string `json:"container"` // containerd id
	Request   string `json:"request"`   // restart, start, status, or await: until it is not as Starts and Running say
	Starts    int    `json:"starts,omitempty"`
	Running   bool   `json:"running,omitempty"`
}

// SupervisorValue is its answer.
type SupervisorValue struct {
	Running bool   `json:"running"`
	Pid     int    `json:"pid"`               // of the program, as the container sees it
	Starts  int    `json:"starts"`            // so far
	Status  int    `json:"status"`            // exit status of the last end
	Failure string `json:"failure,omitempty"` // why the last start failed
}

// LogsArgs says which lines of a container's log to read.
type LogsArgs struct {
	Container string `json:"container"` // containerd id
	Tail      int    `json:"tail"`      // the last so many lines; negative: all
	Follow    bool   `json:"follow"`    // and those to come, until the log is removed
	UntilEOF  bool   `json:"untilEOF"`  // with Follow: or until the body ends; all that was written by then is read
}

// StatArgs names a path inside a container.
type StatArgs struct {
	Container string `json:"container"` // containerd id
	Path      string `json:"path"`      // inside the container
	Follow    bool   `json:"follow"`    // a symbolic link at its end
}

// StatValue is what there is.
type StatValue struct {
	Mode fs.FileMode `json:"mode"`
	Size int64       `json:"size"`
	Link string      `json:"link,omitempty"`
}

// ArchiveArgs says what to read of a container.
type ArchiveArgs struct {
	StatArgs
	Base string `json:"base"` // what the root of the tar is called
}

// ExtractArgs says where to unpack a tar.
type ExtractArgs struct {
	Container string `json:"container"` // containerd id
	Dir       string `json:"dir"`       // inside the container; it exists
	Owners    bool   `json:"owners"`    // as the tar says, not root
}

// ExtractValue counts what was done.
type ExtractValue struct {
	Entries int `json:"entries"`
}

// SignalArgs sends a signal to a container's first process.
type SignalArgs struct {
	Container string `json:"container"` // containerd id
	Signal    string `json:"signal"`    // HUP, USR1 or a number
}

// ProcessesArgs names a container.
type ProcessesArgs struct {
	Container string `json:"container"` // containerd id
}

// Process is a process of a container.
type Process struct {
	UID     int     `json:"uid"`
	PID     int     `json:"pid"`   // as the container sees it
	State   string  `json:"state"` // one letter, as proc(5) says
	CPU     float64 `json:"cpu"`   // seconds of processor time
	Command string  `json:"command"`
}

// PortsArgs names the container whose network is asked.
type PortsArgs struct {
	Container string `json:"container"` // containerd id
}

// PortsValue lists TCP ports, sorted.
type PortsValue struct {
	Ports []int `json:"ports"`
}

// SuccessorArgs says which container to wait for.
type SuccessorArgs struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Container string `json:"container"` // its name
	Not       string `json:"not"`       // containerd id of the one before
	Ports     []int  `json:"ports"`     // on which its program must listen
}

// SuccessorValue is the container that runs now.
type SuccessorValue struct {
	Container string `json:"container"`       // containerd id
	Ended     bool   `json:"ended,omitempty"` // it has ended already
}
