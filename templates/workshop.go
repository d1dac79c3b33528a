package templates

import "embed"

// WorkshopSchema is the JSON schema of workshop.yaml, for editors.
//
//go:embed schema/workshop.schema.json
var WorkshopSchema []byte

// Workshop holds the manifests that fence learners in (learner.yaml, with the
// words NAMESPACE and POD_CIDR; fences.yaml), the pages (page) and the workshop
// that `berth workshop new` makes (new).
//
//go:embed workshop
var Workshop embed.FS
