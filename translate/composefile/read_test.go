package composefile

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestReadThatFailsNamesTheFilesItLookedFor(t *testing.T) {
	for content, missing := range map[string]string{
		"services: {web: {image: x, env_file: later.env}}":               "later.env",
		"include: [other.yaml]\nservices: {web: {image: x}}":             "other.yaml",
		"services: {web: {extends: {file: base.yaml, service: common}}}": "base.yaml",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		input, _, err := Read(t.Context(), Options{Dir: dir, ProjectName: "p"})
		if err == nil || !slices.Contains(input.Files, filepath.Join(dir, missing)) || !slices.Contains(input.Files, filepath.Join(dir, "compose.yaml")) {
			t.Errorf("%s: error %v, files %v", content, err, input.Files)
		}
	}
}
