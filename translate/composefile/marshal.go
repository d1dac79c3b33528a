package composefile

import (
	"bytes"
	"maps"

	"github.com/compose-spec/compose-go/v2/types"
)

// Marshal writes a project whole, in canonical form, as "yaml" or "json". Read
// as a compose file, the text is the same project again; the contents of
// secrets stay where they are.
func Marshal(p *types.Project, format string) ([]byte, error) {
	plain := *p
	plain.Jobs = maps.Clone(p.Jobs)
	for key, j := range plain.Jobs { // whose name, other than a service's, would be written as an attribute
		j.Name = ""
		plain.Jobs[key] = j
	}
	var text []byte
	var err error
	if format == "json" {
		text, err = plain.MarshalJSON()
		text = append(text, '\n')
	} else {
		text, err = plain.MarshalYAML()
	}
	// A dollar sign of a value must not start a variable.
	return bytes.ReplaceAll(text, []byte("$"), []byte("$$")), err
}
