package composefile

// nearest returns the known name that a wrong one is closest to, "" when
// none is close.
func nearest(name string, known []string) string {
	best, allowed := "", 1+len(name)/4
	for _, k := range known {
		if d := distance(name, k, allowed); d <= allowed {
			best, allowed = k, d-1
		}
	}
	return best
}

// distance counts the edits that lead from a to b; swapping two characters is
// one. It gives up beyond the limit.
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
