package export

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/berth-dev/berth/translate"
)

// YAML writes objects in their order, a line "---" between two.
func YAML(w io.Writer, objects []translate.Object) error {
	var b bytes.Buffer
	for i, o := range objects {
		b.Reset()
		if i > 0 {
			b.WriteString("---\n")
		}
		if err := marshal(&b, o); err != nil {
			return err
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// Marshal returns one object as YAML: keys sorted, no status, no empty
// timestamps.
func Marshal(o translate.Object) ([]byte, error) {
	var b bytes.Buffer
	err := marshal(&b, o)
	return b.Bytes(), err
}

func marshal(b *bytes.Buffer, o translate.Object) error {
	value, err := plain(o)
	if err != nil {
		return err
	}
	writeYAML(b, value, 0)
	return nil
}

// plain returns an object as the maps, slices and scalars of its JSON.
func plain(o translate.Object) (map[string]any, error) {
	value, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", o.GetObjectKind().GroupVersionKind().Kind, o.GetName(), err)
	}
	delete(value, "status")
	if spec, ok := value["spec"].(map[string]any); ok && len(spec) == 0 {
		delete(value, "spec")
	}
	dropNoise(value)
	return value, nil
}

// dropNoise removes what only a server can know (creation times, and the status
// of claims inside a StatefulSet) and the resources of containers that ask for
// none.
func dropNoise(value any) {
	switch v := value.(type) {
	case map[string]any:
		if created, ok := v["creationTimestamp"]; ok && created == nil {
			delete(v, "creationTimestamp")
		}
		if resources, ok := v["resources"].(map[string]any); ok && len(resources) == 0 {
			delete(v, "resources")
		}
		if claims, ok := v["volumeClaimTemplates"].([]any); ok {
			for _, c := range claims {
				if claim, ok := c.(map[string]any); ok {
					delete(claim, "status")
				}
			}
		}
		for _, child := range v {
			dropNoise(child)
		}
	case []any:
		for _, child := range v {
			dropNoise(child)
		}
	}
}

// writeYAML writes a value that starts a line at the given indentation.
func writeYAML(b *bytes.Buffer, value any, indent int) {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 {
			b.WriteString("{}\n")
			return
		}
		var room [16]string // enough for most mappings
		for i, key := range sortedKeys(v, room[:0]) {
			if i > 0 {
				pad(b, indent)
			}
			if c, ok := v[key].(*code); ok && c.lines {
				c.indent = indent
				b.WriteString(c.token + "\n")
				continue
			}
			writeText(b, key)
			b.WriteByte(':')
			writeEntry(b, v[key], indent)
		}
	case []any:
		if len(v) == 0 {
			b.WriteString("[]\n")
			return
		}
		for i, item := range v {
			if i > 0 {
				pad(b, indent)
			}
			b.WriteString("- ")
			writeItem(b, item, indent+2)
		}
	default:
		writeItem(b, value, indent)
	}
}

// sortedKeys appends the keys of a mapping to a slice, in order.
func sortedKeys(m map[string]any, keys []string) []string {
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// writeEntry writes the value of a key. Lists stand below their key without
// further indentation, as kubectl prints them.
func writeEntry(b *bytes.Buffer, value any, indent int) {
	switch v := value.(type) {
	case map[string]any:
		if len(v) > 0 {
			b.WriteByte('\n')
			pad(b, indent+2)
			writeYAML(b, v, indent+2)
			return
		}
	case []any:
		if len(v) > 0 {
			b.WriteByte('\n')
			pad(b, indent)
			writeYAML(b, v, indent)
			return
		}
	}
	b.WriteByte(' ')
	writeItem(b, value, indent+2)
}

// writeItem writes a value that follows "- " or "key: ".
func writeItem(b *bytes.Buffer, value any, indent int) {
	switch v := value.(type) {
	case map[string]any, []any:
		writeYAML(b, v, indent)
		return
	case string:
		if isBlock(v) {
			writeBlock(b, v, indent)
			return
		}
		writeText(b, v)
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case *code:
		v.indent = indent
		b.WriteString(v.token)
	case nil:
		b.WriteString("null")
	}
	b.WriteByte('\n')
}

func pad(b *bytes.Buffer, indent int) {
	for range indent {
		b.WriteByte(' ')
	}
}

// writeText writes a string on one line, quoted unless nothing could take it
// for anything but a string.
func writeText(b *bytes.Buffer, text string) {
	if isPlain(text) {
		b.WriteString(text)
		return
	}
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
}

// isPlain reports whether a string needs no quotes in YAML 1.1 and 1.2: it is a
// quantity, or starts with a letter, has harmless characters only, and is no
// keyword.
func isPlain(text string) bool {
	if text == "" || len(text) > 200 {
		return false
	}
	if number := strings.TrimRight(text, "KMGTi"); len(number) == len(text)-2 && strings.HasSuffix(text, "i") && strings.Trim(number, "0123456789") == "" {
		return true // 512Mi
	}
	for i := range len(text) {
		c := text[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '/' && i < len(text)-1
		switch {
		case letter:
		case i == 0:
			return false
		case c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '/', c == '@', c == '+', c == '=', c == '(', c == ')', c == '$':
		case c == ' ' || c == ':':
			if i == len(text)-1 || c == ':' && text[i+1] == ' ' {
				return false
			}
		default:
			return false
		}
	}
	switch strings.ToLower(text) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null":
		return false
	}
	return true
}

// isBlock reports whether a string is best written line by line, and can be.
func isBlock(text string) bool {
	if !strings.Contains(strings.TrimRight(text, "\n"), "\n") || text[0] == ' ' || text[0] == '\n' || text[0] == '\t' || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return false
		}
	}
	return !strings.Contains(text, " \n") && !strings.Contains(text, "\t\n") && !strings.HasSuffix(text, " ")
}

// writeBlock writes a string as a literal block.
func writeBlock(b *bytes.Buffer, text string, indent int) {
	b.WriteByte('|')
	body := strings.TrimRight(text, "\n")
	switch len(text) - len(body) {
	case 0:
		b.WriteByte('-')
	case 1:
	default:
		b.WriteByte('+')
	}
	b.WriteByte('\n')
	for _, line := range strings.Split(body, "\n") {
		if line != "" {
			pad(b, indent)
			b.WriteString(line)
		}
		b.WriteByte('\n')
	}
	for range max(0, len(text)-len(body)-1) {
		b.WriteByte('\n')
	}
}
