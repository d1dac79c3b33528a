package export

import (
	"fmt"
	"strconv"
	"strings"
)

// code is a piece of a Helm template within a tree of values. The YAML writer
// puts a token in its place and notes the indentation.
type code struct {
	token  string
	text   string // the template; $INDENT stands for the indentation of what is inside
	lines  bool   // whole lines, which bring their key along
	indent int
}

// A codebook hands out pieces of template and puts them into written YAML.
type codebook struct {
	mark  string // what tokens start with; in no text
	pages []*code
}

// inline is a piece that stands where a value would.
func (c *codebook) inline(format string, args ...any) *code {
	return c.add(&code{text: fmt.Sprintf(format, args...)})
}

// lines is a piece that stands where a key and its value would.
func (c *codebook) lines(text string) *code {
	return c.add(&code{text: text, lines: true})
}

func (c *codebook) add(piece *code) *code {
	piece.token = fmt.Sprintf("%s%d~", c.mark, len(c.pages))
	c.pages = append(c.pages, piece)
	return piece
}

// expand puts the pieces into written YAML. What looks like a template in the
// user's own texts is escaped.
func (c *codebook) expand(written string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(written, c.mark)
		b.WriteString(strings.ReplaceAll(before, "{{", `{{ "{{" }}`))
		if !found {
			return b.String()
		}
		var number string
		number, written, _ = strings.Cut(rest, "~")
		if i, err := strconv.Atoi(number); err == nil && i < len(c.pages) {
			b.WriteString(c.pages[i].template())
		}
	}
}

// template is the text of a piece at the indentation where it stands.
func (c *code) template() string {
	text := strings.ReplaceAll(c.text, "$INDENT", strconv.Itoa(c.indent))
	if c.lines {
		text = strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", c.indent))
	}
	return text
}
