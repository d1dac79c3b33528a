package composefile

import "github.com/berth-dev/berth/translate"

// Warnings are in the order in which they were found.
type Warnings []Warning

// A Warning is something that works, and that the user should know of.
type Warning struct {
	Position translate.Position
	Text     string
}

// String returns "file:line: text".
func (w Warning) String() string {
	return (&translate.Error{Position: w.Position, What: w.Text}).Error()
}
