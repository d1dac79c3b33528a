package translate

import (
	"crypto/sha256"
	"encoding/hex"
	"sort"
	"strings"
)

// Limits of Kubernetes names, in bytes.
const (
	maxLabel     = 63 // DNS labels: Services, label values
	maxSubdomain = 253
	maxCron      = 52 // CronJobs and StatefulSets: Kubernetes appends to their names
)

// sanitize returns original as a DNS label that starts with a letter: lower
// case, everything else than letters, digits and dashes turned into dashes.
// It may be longer than a label can be.
func sanitize(original string) string {
	if isLabel(original) {
		return original
	}
	var b strings.Builder
	b.Grow(len(original) + 2)
	dash := false
	for _, r := range strings.ToLower(original) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			if b.Len() == 0 && r <= '9' {
				b.WriteString("s-")
			} else if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(r)
			continue
		}
		dash = true
	}
	if b.Len() == 0 {
		return "x"
	}
	return b.String()
}

// Namespace is the namespace that a compose project gets unless
// Target.Namespace says otherwise.
func Namespace(project string) string {
	return shorten(sanitize(project), project, maxLabel)
}

// isLabel reports whether s is a DNS label (RFC 1035) of any length.
func isLabel(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// hash returns the first n hexadecimal digits of the SHA-256 of the parts.
func hash[T string | []byte](n int, parts ...T) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))[:n]
}

// shorten returns name when it fits limit, and else a prefix of it with a hash
// of original, so that two long names stay apart.
func shorten(name, original string, limit int) string {
	if len(name) <= limit {
		return name
	}
	return strings.TrimRight(name[:limit-9], "-.") + "-" + hash(8, original)
}

// suffixed returns base with suffix, shortened in front of the suffix.
func suffixed(base, suffix string, limit int) string {
	return shorten(base, base+suffix, limit-len(suffix)) + suffix
}

// nameSet gives out names of one Kubernetes name space, each once.
type nameSet struct {
	taken map[string]bool
	limit int
}

func newNameSet(limit int) *nameSet {
	return &nameSet{taken: map[string]bool{}, limit: limit}
}

// within is the same set for names with another limit.
func (n *nameSet) within(limit int) *nameSet {
	return &nameSet{taken: n.taken, limit: limit}
}

// take returns a free name made of original: itself when it is valid and free.
func (n *nameSet) take(original string) string {
	name := shorten(sanitize(original), original, n.limit)
	if n.taken[name] {
		name = suffixed(name, "-"+hash(6, original), n.limit)
	}
	for i := 2; n.taken[name]; i++ {
		name = suffixed(name, "-"+hash(6, original, string(rune('a'+i))), n.limit)
	}
	n.taken[name] = true
	return name
}

// takeAll names every original. Those that are valid as they are come first,
// so that "a-b" stays "a-b" whether or not there is an "a_b".
func (n *nameSet) takeAll(originals []string) map[string]string {
	sorted := append([]string(nil), originals...)
	sort.Slice(sorted, func(i, j int) bool {
		a, b := sorted[i], sorted[j]
		if va, vb := isLabel(a), isLabel(b); va != vb {
			return va
		}
		return a < b
	})
	names := make(map[string]string, len(sorted))
	for _, o := range sorted {
		names[o] = n.take(o)
	}
	return names
}

// LabelValue returns s as a valid value of a label: itself when it is one. The
// labels of objects that name a service or project hold such values.
func LabelValue(s string) string {
	if isLabelValue(s) {
		return s
	}
	return shorten(sanitize(s), s, maxLabel)
}

// isLabelValue reports whether s may be a label's value.
func isLabelValue(s string) bool {
	if len(s) > maxLabel {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || i == len(s)-1 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return true
}

// isQualifiedName reports whether s may be the key of a label or annotation:
// an optional DNS prefix, a slash, and a name of at most 63 bytes.
func isQualifiedName(s string) bool {
	name := s
	if prefix, rest, ok := strings.Cut(s, "/"); ok {
		if len(prefix) > maxSubdomain || !isDNSName(prefix) {
			return false
		}
		name = rest
	}
	return name != "" && isLabelValue(name)
}

// isDNSName reports whether s is a lower case DNS name of one or more labels.
func isDNSName(s string) bool {
	if s == "" || len(s) > maxSubdomain {
		return false
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// isHost reports whether an Ingress takes s as a host: a lower case DNS name,
// with "*." in front or not, that is no address.
func isHost(s string) bool {
	name := strings.TrimPrefix(s, "*.")
	return isDNSName(name) && strings.Trim(name, "0123456789.") != ""
}

// isResolvable reports whether clients can ask for s: a DNS name in which
// capitals and underscores are allowed, as Docker's own server allows them.
func isResolvable(s string) bool {
	return isDNSName(strings.ReplaceAll(strings.ToLower(s), "_", "x"))
}

// sortedKeys returns the keys of m in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
