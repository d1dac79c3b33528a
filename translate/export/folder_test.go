package export

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree lists the files below dir with their contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == inventoryName {
			return err
		}
		content, err := os.ReadFile(path)
		files[filepath.ToSlash(rel)] = string(content)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}

func files(pairs ...string) map[string][]byte {
	m := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = []byte(pairs[i+1])
	}
	return m
}

func TestStaleFilesGoAndOthersStay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "out")
	if err := WriteFiles(dir, files("one.yaml", "1", "sub/two.yaml", "2", "sub/deep/three.yaml", "3")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "sub/mine.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteFiles(dir, files("one.yaml", "1b", "four.yaml", "4")); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"one.yaml": "1b", "four.yaml": "4", "README.md": "mine", "sub/mine.yaml": "mine"}
	if got := tree(t, dir); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "sub", "deep")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder is left: %v", err)
	}
}

func TestAForeignFileIsNeverOverwritten(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFiles(dir, files("a.yaml", "a")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.yaml"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := WriteFiles(dir, files("a.yaml", "changed", "b.yaml", "b", "c.yaml", "c"))
	var foreign *ForeignFileError
	if !errors.As(err, &foreign) || filepath.Base(foreign.Path) != "b.yaml" || foreign.Hint() == "" {
		t.Fatalf("got %v", err)
	}
	if got := tree(t, dir); !maps.Equal(got, map[string]string{"a.yaml": "a", "b.yaml": "mine"}) {
		t.Errorf("the folder changed: %v", got)
	}
}

func TestNothingChangesWhenAFileCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFiles(dir, files("a.yaml", "a")); err != nil {
		t.Fatal(err)
	}
	// b cannot be a file and a folder at once.
	if err := WriteFiles(dir, files("a.yaml", "changed", "b", "x", "b/c.yaml", "y")); err == nil {
		t.Fatal("no error")
	}
	if got := tree(t, dir); !maps.Equal(got, map[string]string{"a.yaml": "a"}) {
		t.Errorf("the folder changed: %v", got)
	}
}

func TestAnInterruptedRunIsPickedUp(t *testing.T) {
	dir := t.TempDir()
	stage := filepath.Join(dir, stageName)
	if err := os.MkdirAll(stage, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stage, "left.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeInventory(dir, []string{"a.yaml", "gone.yaml"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFiles(dir, files("a.yaml", "whole")); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); !maps.Equal(got, map[string]string{"a.yaml": "whole"}) {
		t.Errorf("got %v", got)
	}
}

func TestADamagedInventoryIsAnError(t *testing.T) {
	for name, text := range map[string]string{"no JSON": "x", "outside": `{"files": ["../../etc/passwd"]}`} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, inventoryName), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := WriteFiles(dir, files("a", "a")); err == nil || !strings.Contains(err.Error(), "inventory") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestKindsSortInApplyOrder(t *testing.T) {
	kinds := []string{"Namespace", "NetworkPolicy", "ConfigMap", "Service", "Deployment", "Ingress", "HorizontalPodAutoscaler"}
	if !slices.IsSortedFunc(kinds, func(a, b string) int { return rankOf(a) - rankOf(b) }) {
		t.Error("out of order")
	}
}
