package export

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/berth-dev/berth/translate"
)

// worstFirst lists the statuses in the order of the table.
var worstFirst = []translate.Status{translate.Dropped, translate.NeedsCluster, translate.Approximated, translate.Exact}

// Counts says how many attributes have each status.
func Counts(entries []translate.Entry) map[translate.Status]int {
	counts := map[translate.Status]int{}
	for _, e := range entries {
		counts[e.Status]++
	}
	return counts
}

// JSON writes the report: counts by status, and every entry.
func JSON(w io.Writer, entries []translate.Entry) error {
	report := struct {
		Counts  map[translate.Status]int `json:"counts"`
		Entries []translate.Entry        `json:"entries"`
	}{Counts(entries), entries}
	if entries == nil {
		report.Entries = []translate.Entry{}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// Table writes the report for people: what was not kept exactly, grouped by
// service, worst first, one line each, and a line with the counts.
func Table(w io.Writer, entries []translate.Entry, color bool) error {
	var b strings.Builder
	for _, g := range groups(entries) {
		b.WriteString(paint(g.name(), bold, color) + "\n")
		status, attribute, place := 0, 0, 0
		for _, e := range g.entries {
			status = max(status, len(e.Status))
			attribute = max(attribute, utf8.RuneCountInString(g.attribute(e)))
			place = max(place, utf8.RuneCountInString(where(e.Position)))
		}
		for _, e := range g.entries {
			fmt.Fprintf(&b, "  %s  %-*s  %-*s  %s\n", paint(fmt.Sprintf("%-*s", status, e.Status), colors[e.Status], color),
				attribute, g.attribute(e), place, where(e.Position), outcome(e))
		}
	}
	b.WriteString(Summary(entries) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary is the report in one line.
func Summary(entries []translate.Entry) string {
	counts := Counts(entries)
	if len(entries) > 0 && counts[translate.Exact] == len(entries) {
		return plural(len(entries)) + ", all kept exactly"
	}
	parts := []string{}
	for _, s := range slices.Backward(worstFirst) {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	if len(parts) == 0 {
		return plural(0)
	}
	return plural(len(entries)) + ": " + strings.Join(parts, ", ")
}

func plural(n int) string {
	if n == 1 {
		return "1 attribute"
	}
	return fmt.Sprintf("%d attributes", n)
}

// A group is the entries of one service, or of one other part of the project.
type group struct {
	part    string
	entries []translate.Entry
}

// name is what the group is called: services by their name, everything else by
// what it is too.
func (g *group) name() string {
	section, name, _ := strings.Cut(g.part, ".")
	switch section {
	case "":
		return "project"
	case "services":
		return name
	}
	return strings.TrimSuffix(section, "s") + " " + name
}

// groups sorts what was not kept exactly: the group with the worst entry
// first, the worst entry of a group first.
func groups(entries []translate.Entry) []*group {
	byPart := map[string]*group{}
	var all []*group
	for _, e := range entries {
		if e.Status == translate.Exact {
			continue
		}
		g := byPart[e.Part]
		if g == nil {
			g = &group{part: e.Part}
			byPart[e.Part] = g
			all = append(all, g)
		}
		g.entries = append(g.entries, e)
	}
	for _, g := range all {
		slices.SortStableFunc(g.entries, func(a, b translate.Entry) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Path, b.Path))
		})
	}
	slices.SortFunc(all, func(a, b *group) int {
		return cmp.Or(cmp.Compare(rank(a.entries[0]), rank(b.entries[0])), cmp.Compare(a.name(), b.name()))
	})
	return all
}

func rank(e translate.Entry) int { return slices.Index(worstFirst, e.Status) }

// attribute is an entry's path within its group.
func (g *group) attribute(e translate.Entry) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(e.Path, g.part), ".")
	return cmp.Or(rest, "(all)")
}

func where(p translate.Position) string { return cmp.Or(p.String(), "-") }

// outcome is what was done, and what the user can do, on one line.
func outcome(e translate.Entry) string {
	text := e.Done
	if e.Do != "" {
		text += "; " + e.Do
	}
	return strings.Join(strings.Fields(text), " ")
}

const bold = "1"

// colors are the SGR codes of the statuses.
var colors = map[translate.Status]string{translate.Dropped: "31", translate.NeedsCluster: "35", translate.Approximated: "33", translate.Exact: "32"}

func paint(text, code string, color bool) string {
	if !color || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
