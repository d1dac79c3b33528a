package composefile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
)

// interpolate puts the values of variables into the texts of a document, and
// gives the results the types that compose expects.
func (r *reader) interpolate(root *node, env map[string]string) {
	in := interpolation{reader: r, lookup: func(key string) (string, bool) {
		v, ok := env[key]
		return v, ok
	}}
	in.walk(root, composeRules(), nil)
}

type interpolation struct {
	*reader
	lookup template.Mapping
}

func (in *interpolation) walk(n *node, rule *rule, p *attribute) {
	switch n.kind {
	case scalarKind:
		in.scalar(n, rule, p)
	case listKind:
		for i, item := range n.items {
			in.walk(item, rule.child("*"), p.item(i))
		}
	case mapKind:
		for key, value := range n.fields {
			in.walk(value, rule.child(key), p.field(key))
		}
	}
}

func (in *interpolation) scalar(n *node, rule *rule, p *attribute) {
	text, ok := n.value.(string)
	if !ok {
		return
	}
	if strings.Contains(text, "$") {
		replaced, err := in.substitute(text, n)
		if err != nil {
			in.failAt(n, p, interpolationError(text, err), interpolationCure(err))
			return
		}
		n.value, text = replaced, replaced
	}
	if rule == nil || rule.cast == nil {
		return
	}
	value, err := rule.cast(text)
	if err != nil {
		in.failAt(n, p, fmt.Errorf("%q %w", text, err), "")
		return
	}
	n.value = value
}

// substitute replaces the variables in a text, and warns of those that are not
// set.
func (in *interpolation) substitute(text string, n *node) (string, error) {
	return template.SubstituteWithOptions(text, in.lookup, template.WithoutLogging, template.WithReplacementFunction(
		func(part string, lookup template.Mapping, config *template.Config) (string, error) {
			value, set, err := template.DefaultReplacementAppliedFunc(part, lookup, config)
			if err == nil && !set {
				in.warn(n.pos, fmt.Sprintf("the variable %q is not set; it counts as empty", variableName(part)))
			}
			return value, err
		}))
}

// variableName takes the name out of "$NAME", "${NAME}" and the like.
func variableName(part string) string {
	name := strings.TrimLeft(part, "${")
	if end := strings.IndexFunc(name, func(c rune) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}); end >= 0 {
		name = name[:end]
	}
	return name
}

// interpolationError puts a syntax error in our words.
func interpolationError(text string, err error) error {
	var invalid *template.InvalidTemplateError
	if errors.As(err, &invalid) {
		return fmt.Errorf("%q is not a valid use of $", text)
	}
	return err
}

func interpolationCure(err error) string {
	var missing *template.MissingRequiredError
	if errors.As(err, &missing) {
		return fmt.Sprintf("set %s in the environment or in .env", missing.Variable)
	}
	return "write $$ for a dollar sign that is meant as it is"
}

// The casts: what text becomes where compose expects another type.

func toInt(text string) (any, error) {
	v, err := strconv.Atoi(text)
	if err != nil {
		return nil, errors.New("is not a whole number")
	}
	return v, nil
}

func toInt64(text string) (any, error) {
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, errors.New("is not a whole number")
	}
	return v, nil
}

// toUmask reads a number as YAML does: a leading 0 or 0o makes it octal.
func toUmask(text string) (any, error) {
	v, err := strconv.ParseUint(text, 0, 32)
	if err != nil {
		return nil, errors.New("is not an octal mask")
	}
	return v, nil
}

func toFloat(text string) (any, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errors.New("is not a number")
	}
	return v, nil
}

func toFloat32(text string) (any, error) {
	v, err := strconv.ParseFloat(text, 32)
	if err != nil {
		return nil, errors.New("is not a number")
	}
	return float32(v), nil
}

func toBool(text string) (any, error) {
	switch strings.ToLower(text) {
	case "true", "y", "yes", "on":
		return true, nil
	case "false", "n", "no", "off":
		return false, nil
	}
	return nil, errors.New("is neither true nor false")
}
