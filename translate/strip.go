package translate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// stripped divides a route by what is taken off its paths before requests are
// passed on: one Ingress has one rewrite. What cannot be taken off is reported
// at attribute.
func (t *translator) stripped(attribute string, r route) []route {
	if len(r.strip) == 0 {
		return []route{r}
	}
	plain, rewritten, used := r, r, map[string]bool{}
	plain.strip, plain.paths, rewritten.paths = nil, nil, nil
	paths := r.paths
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	for _, p := range paths {
		prefix := r.prefixOf(p)
		if used[prefix] = true; prefix == "" {
			plain.paths = append(plain.paths, p)
		} else {
			rewritten.paths = append(rewritten.paths, p)
		}
	}
	for _, prefix := range r.strip {
		below := func(p string) bool {
			return !slices.Contains(r.exact, p) && strings.HasPrefix(prefix, strings.TrimSuffix(p, "/")+"/")
		}
		switch {
		case used[prefix], prefix == "/", !slices.ContainsFunc(plain.paths, below): // no request has it
		case isPath(prefix):
			rewritten.paths = append(rewritten.paths, prefix) // the longer path goes first
		default:
			t.report.dropped(attribute, fmt.Sprintf("the prefix %q is not taken off: it is no path of an Ingress", prefix), "write it without //, /./, /../ and %2F")
		}
	}
	return slices.DeleteFunc([]route{rewritten, plain}, func(r route) bool { return len(r.paths) == 0 })
}

// prefixOf is the prefix that is taken off a path of r, "" for none.
func (r route) prefixOf(p string) string {
	for _, prefix := range r.strip {
		if strings.HasPrefix(prefix, "/") && prefix != "/" && strings.HasPrefix(p+"/", prefix) {
			return prefix
		}
	}
	return ""
}

// pattern is the regular expression of a path whose second group is what is
// left of it without its prefix and the slash.
func (r route) pattern(p string) string {
	prefix := strings.TrimSuffix(r.prefixOf(p), "/")
	rest, slash := strings.TrimSuffix(strings.TrimPrefix(p, prefix), "/"), "()"
	if left, ok := strings.CutPrefix(rest, "/"); ok {
		rest, slash = left, "(/)"
	}
	start, end := regexp.QuoteMeta(prefix), "(?:/.*)?"
	if slices.Contains(r.exact, p) {
		end = ""
	} else if rest == "" {
		return start + "(/|$)(.*)"
	}
	return start + slash + "(" + regexp.QuoteMeta(rest) + end + ")$"
}

// splitList splits a list at its commas.
func splitList(text string) []string {
	var out []string
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}
