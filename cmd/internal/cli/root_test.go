package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyVerb calls f with all commands but those that cobra makes itself.
func everyVerb(t *testing.T, f func(t *testing.T, cmd *cobra.Command)) {
	for _, cmd := range descendants(newRootCommand(&App{})) {
		path := cmd.CommandPath()
		if path == "berth help" || strings.HasPrefix(path, "berth completion") {
			continue
		}
		t.Run(path, func(t *testing.T) { f(t, cmd) })
	}
}

func TestHelpIsOfOneKind(t *testing.T) {
	everyVerb(t, func(t *testing.T, cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("in short: %q", cmd.Short)
		}
		if line := cmd.UseLine(); !strings.HasPrefix(line, cmd.CommandPath()) || strings.Contains(line, "[OPTIONS]") {
			t.Errorf("usage: %q", line)
		}
		if cmd.Args == nil && !strings.Contains(cmd.Use, "...") {
			t.Errorf("usage: %q, and nothing checks the arguments", cmd.Use)
		}
		if cmd.Example != "" && !strings.Contains(cmd.Example, cmd.Name()) {
			t.Errorf("the examples are of another verb:\n%s", cmd.Example)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			value, usage := pflag.UnquoteUsage(f)
			switch {
			case usage == "" || strings.HasSuffix(usage, "."):
				t.Errorf("--%s: %q", f.Name, usage)
			case value == "string" || value == "strings" || value == "int":
				t.Errorf("--%s does not name its value: %q", f.Name, usage)
			}
		})
	})
}

func TestEveryVerbIsInAScript(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var scripts strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		scripts.Write(text)
	}
	everyVerb(t, func(t *testing.T, cmd *cobra.Command) {
		verb := strings.TrimPrefix(cmd.CommandPath(), "berth ")
		if !regexp.MustCompile(`(?m)^(!? ?exec|exits \d) berth .*\b` + verb + `\b|^(!? ?exec|exits \d) berth ` + verb + `\b`).MatchString(scripts.String()) {
			t.Error("no script has it")
		}
	})
}
