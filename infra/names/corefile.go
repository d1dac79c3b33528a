package names

import (
	"errors"
	"strings"
)

// block is the part of the Corefile that serves the zone.
const block = Zone + `:53 {
    errors
    file ` + zonePath + ` ` + Zone + ` {
        reload 1s
    }
}
`

// single answers for names without a dot outside every zone: no resolver of
// the host's knows them, and asking it can take seconds where it cannot be
// reached.
const single = `    template ANY ANY . {
        match ^[^.]*[.]$
        rcode NXDOMAIN
        fallthrough
    }
`

// configure returns the Corefile with berth's part in it.
func configure(corefile string) (string, error) {
	if strings.Contains(corefile, block) && strings.Contains(corefile, single) {
		return corefile, nil
	}
	if strings.Contains(corefile, Zone+":53") {
		return "", errors.New("its Corefile has another part for " + Zone)
	}
	const start = ".:53 {\n"
	before, after, found := strings.Cut(corefile, start)
	if !found {
		return "", errors.New("its Corefile has no server for \".:53\"")
	}
	return before + start + single + strings.TrimRight(after, "\n") + "\n" + block, nil
}
