package names

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/infra/model"
)

// Zone is where all names are: <name>.<network>.<namespace>.berth.internal.
// "internal" is reserved for such use (ICANN resolution 2024.07.29.06).
const Zone = "berth.internal"

// serialName holds the zone's serial number as text: whoever asks a server for
// it learns which version of the zone that server has.
const serialName = "serial." + Zone

// ttl is how long a resolver may believe an answer, in seconds. The server is
// next door.
const ttl = 5

// zone is the content of the zone file.
type zone struct {
	serial  uint32
	records []string // one line each, sorted
}

var serialLine = regexp.MustCompile(`(?m)^serial\.berth\.internal\. .* TXT "(\d+)"$`)

// parseZone reads what String wrote; text that it did not write is an empty zone.
func parseZone(text string) zone {
	var z zone
	if m := serialLine.FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseUint(m[1], 10, 32)
		if err == nil {
			z.serial = uint32(n)
		}
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.Contains(line, " CNAME ") {
			z.records = append(z.records, line)
		}
	}
	return z
}

// String is the zone as a file (RFC 1035, section 5). That a name does not
// exist may be believed for one second (RFC 2308), so that a client that comes
// too early succeeds when it asks again.
func (z zone) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%[1]s. %[2]d IN SOA ns.%[1]s. berth.%[1]s. %[3]d 60 60 3600 1\n", Zone, ttl, z.serial)
	fmt.Fprintf(&b, "%[1]s. %[2]d IN NS ns.%[1]s.\n", Zone, ttl)
	fmt.Fprintf(&b, "%s. 0 IN TXT \"%d\"\n", serialName, z.serial)
	for _, r := range z.records {
		b.WriteString(r + "\n")
	}
	return b.String()
}

// with returns the zone in which names are all that namespace has, and the
// namespaces that exist keep theirs.
func (z zone) with(namespace string, names []model.Name, exists func(namespace string) bool) zone {
	records := slices.DeleteFunc(slices.Clone(z.records), func(line string) bool {
		of := namespaceOf(line)
		return of == namespace || !exists(of)
	})
	owners := map[string]bool{}
	for _, n := range names {
		if owner := strings.ToLower(n.FQDN); !owners[owner] { // two names that differ in case only are one to DNS
			owners[owner] = true
			records = append(records, fmt.Sprintf("%s. %d IN CNAME %s.%s.svc.cluster.local.", owner, ttl, n.KubeService, namespace))
		}
	}
	slices.Sort(records)
	return z.of(records)
}

// without returns the zone in which none of namespace's names leads to one of
// services.
func (z zone) without(namespace string, services []string) zone {
	return z.of(slices.DeleteFunc(slices.Clone(z.records), func(line string) bool {
		return slices.ContainsFunc(services, func(s string) bool { return strings.HasSuffix(line, " CNAME "+s+"."+namespace+".svc.cluster.local.") })
	}))
}

// of returns the zone of these records. The serial number grows when that is a
// change.
func (z zone) of(records []string) zone {
	if slices.Equal(records, z.records) {
		return z
	}
	return zone{serial: z.serial + 1, records: records}
}

// namespaceOf is the namespace that a record belongs to: the label below the zone.
func namespaceOf(record string) string {
	owner, _, _ := strings.Cut(record, " ")
	owner = strings.TrimSuffix(owner, "."+Zone+".")
	return owner[strings.LastIndexByte(owner, '.')+1:]
}
