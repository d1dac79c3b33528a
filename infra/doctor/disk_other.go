//go:build !linux && !darwin

package doctor

import "errors"

// FreeDisk is not known here: the engine runs in a virtual machine.
func FreeDisk(string) (uint64, error) { return 0, errors.ErrUnsupported }

// SameDisk is not known here, either.
func SameDisk(string, string) (bool, error) { return false, errors.ErrUnsupported }
