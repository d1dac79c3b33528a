package translate

import (
	"strings"
	"testing"
)

// What is too deep or too wide for the parser lets nobody in, and is named.
func TestRulesAreBounded(t *testing.T) {
	for name, rule := range map[string]string{
		"negations":   strings.Repeat("!", 1000) + "Host(`a`)",
		"parentheses": strings.Repeat("(", 1000) + "Host(`a`)",
		"mixed":       strings.Repeat("!(", 1000) + "Host(`a`)",
	} {
		matches, unknown := parseRule(rule)
		if len(unknown) == 0 {
			t.Errorf("%s: nothing is unknown", name)
		}
		for _, m := range matches {
			if !m.wide {
				t.Errorf("%s: %v stays", name, m)
			}
		}
	}
	matches, unknown := parseRule("Host(`a`)" + strings.Repeat(" || Host(`a`)", maxRule))
	if len(matches) != maxRule || len(unknown) != 1 || !strings.Contains(unknown[0], "65. alternative") {
		t.Errorf("%d matches, unknown: %q", len(matches), unknown)
	}
}
