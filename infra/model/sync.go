package model

import "errors"

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

// Program is what is known of the program of a container under berth's
// supervisor.
type Program struct {
	Running bool
	Starts  int      // so far, the first included
	Status  int      // exit status of the last end, 128+n for signal n
	Failure string   // why the last start failed; "" when it did not
	Log     []string // when it does not run: the last lines of its log
}

// Unreadable lists why sources of a sync could not be read. They were left out;
// everything else of it was carried out.
type Unreadable struct{ Reasons []error }

// Add adds a reason, once.
func (u *Unreadable) Add(reason error) {
	for _, known := range u.Reasons {
		if known.Error() == reason.Error() {
			return
		}
	}
	u.Reasons = append(u.Reasons, reason)
}

// OrNil returns u as an error, nil when nothing was left out.
func (u *Unreadable) OrNil() error {
	if len(u.Reasons) == 0 {
		return nil
	}
	return u
}

// Error lists the reasons.
func (u *Unreadable) Error() string { return errors.Join(u.Reasons...).Error() }
