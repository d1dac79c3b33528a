package translate

import (
	"fmt"
	"slices"
	"strings"
)

// match is one way to satisfy a router rule.
type match struct {
	hosts, paths []string
	exact        []string // those of paths with nothing below them
	wide         bool     // part of it is left out
}

// parseRule reads a Traefik rule such as Host(`a`) && (PathPrefix(`/x`) ||
// Path(`/y`)). It returns the alternatives, and the matchers that an Ingress
// does not know, which are left out.
func parseRule(rule string) (matches []match, unknown []string) {
	p := ruleParser{text: rule}
	matches = p.or(0)
	return matches, p.unknown
}

// Bounds of a rule: of its alternatives and its depth, and of its characters.
const (
	maxRule     = 64
	maxRuleText = 4 << 10
)

type ruleParser struct {
	text    string
	at      int
	unknown []string
}

func (p *ruleParser) skip(token string) bool {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t' || p.text[p.at] == '\n') {
		p.at++
	}
	if strings.HasPrefix(p.text[p.at:], token) {
		p.at += len(token)
		return true
	}
	return false
}

func (p *ruleParser) or(depth int) []match {
	out := p.and(depth)
	for p.skip("||") {
		out = append(out, p.and(depth)...)
	}
	return p.bounded(out)
}

// bounded keeps the first alternatives of many.
func (p *ruleParser) bounded(list []match) []match {
	if len(list) <= maxRule {
		return list
	}
	p.unknown = append(p.unknown, fmt.Sprintf("the %d. alternative and those after it", maxRule+1))
	return list[:maxRule]
}

func (p *ruleParser) and(depth int) []match {
	out := p.one(depth)
	for p.skip("&&") {
		right := p.one(depth)
		var both []match
		for _, a := range out {
			for _, b := range right {
				if len(a.hosts) > 0 && len(b.hosts) > 0 || len(a.paths) > 0 && len(b.paths) > 0 {
					p.unknown = append(p.unknown, "one condition of hosts or paths on top of another")
					a.wide = true
				}
				if len(both) <= maxRule {
					both = append(both, match{
						hosts: append(slices.Clone(a.hosts), b.hosts...), paths: append(slices.Clone(a.paths), b.paths...),
						exact: append(slices.Clone(a.exact), b.exact...), wide: a.wide || b.wide,
					})
				}
			}
		}
		out = p.bounded(both)
	}
	return out
}

func (p *ruleParser) one(depth int) []match {
	if depth > maxRule {
		p.unknown, p.at = append(p.unknown, fmt.Sprintf("a condition within %d others", maxRule)), len(p.text)
		return []match{{wide: true}}
	}
	if p.skip("!") {
		p.unknown = append(p.unknown, "a negation")
		p.one(depth + 1)
		return []match{{wide: true}}
	}
	if p.skip("(") {
		out := p.or(depth + 1)
		p.skip(")")
		return out
	}
	end := p.at
	for end < len(p.text) && (p.text[end] >= 'a' && p.text[end] <= 'z' || p.text[end] >= 'A' && p.text[end] <= 'Z') {
		end++
	}
	name := p.text[p.at:end]
	p.at = end
	if name == "" || !p.skip("(") {
		p.unknown = append(p.unknown, fmt.Sprintf("%q", strings.TrimSpace(p.text[min(p.at, len(p.text)):])))
		p.at = len(p.text)
		return []match{{wide: true}}
	}
	args := p.arguments()
	switch strings.ToLower(name) {
	case "host":
		return []match{{hosts: args}}
	case "path", "pathprefix":
		m := match{paths: slices.DeleteFunc(args, func(a string) bool { return !strings.HasPrefix(a, "/") || strings.ContainsAny(a, "{}") })}
		if strings.EqualFold(name, "path") {
			m.exact = m.paths
		}
		if len(m.paths) > 0 {
			return []match{m}
		}
	}
	p.unknown = append(p.unknown, name)
	return []match{{wide: true}}
}

// arguments reads the quoted strings up to the closing parenthesis.
func (p *ruleParser) arguments() []string {
	var out []string
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ')':
			p.at++
			return out
		case '`', '"', '\'':
			end := strings.IndexByte(p.text[p.at+1:], c)
			if end < 0 {
				p.at = len(p.text)
				return out
			}
			out = append(out, p.text[p.at+1:p.at+1+end])
			p.at += end + 2
		default:
			p.at++
		}
	}
	return out
}
