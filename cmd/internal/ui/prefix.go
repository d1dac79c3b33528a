package ui

import (
	"hash/fnv"

	"github.com/morikuni/aec"
)

// palette holds the colours of log prefixes. Red is left to errors.
var palette = []aec.ANSI{aec.CyanF, aec.YellowF, aec.GreenF, aec.MagentaF, aec.BlueF,
	aec.LightCyanF, aec.LightYellowF, aec.LightGreenF, aec.LightMagentaF, aec.LightBlueF}

// Prefix is what stands before a line of name's log: the name, padded to width
// cells, in a colour that depends on the name alone.
func Prefix(color bool, name string, width int) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // a hash takes everything
	return paint(color, palette[h.Sum32()%uint32(len(palette))], pad(name, width)+" |") + " "
}
