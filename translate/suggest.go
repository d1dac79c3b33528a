package translate

import (
	"fmt"
	"slices"
	"strings"
)

// maxKnown is how many names an advice lists.
const maxKnown = 12

// Suggest is the advice for a wrong word: the nearest of the known ones, else
// what they are, "" when there are none.
func Suggest(word string, known []string) string {
	if meant := Nearest(word, known); meant != "" {
		return fmt.Sprintf("did you mean %q?", meant)
	}
	switch {
	case len(known) == 0:
		return ""
	case len(known) > maxKnown:
		known = append(slices.Clone(known[:maxKnown]), "...")
	}
	return "known: " + strings.Join(known, ", ")
}

// Nearest returns the known word that a wrong one was probably meant to be, ""
// when none is near: one that has it inside, or that a few edits lead to.
// Capitals make no difference.
func Nearest(word string, known []string) string {
	best, allowed := "", 1+len(word)/4
	word = strings.ToLower(word)
	for _, k := range known {
		if d := distance(word, strings.ToLower(k), allowed); d <= allowed {
			best, allowed = k, d-1
		}
	}
	if best != "" || len(word) < 3 {
		return best
	}
	for _, k := range known {
		if strings.Contains(strings.ToLower(k), word) {
			return k
		}
	}
	return ""
}

// distance counts the edits that lead from a to b; swapping two that are side by
// side is one. It gives up beyond the limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(next[j-1]+1, row[j]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
