package templates

import _ "embed"

// XBerthSchema is the JSON schema of x-berth in compose files, for editors.
//
//go:embed schema/x-berth.schema.json
var XBerthSchema []byte
