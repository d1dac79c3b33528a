package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/translate"
)

// Dir writes one file an object into a folder. The names sort in apply order,
// so that `kubectl apply -f` on the folder works.
func Dir(dir string, objects []translate.Object) error {
	files, err := objectFiles(objects)
	if err != nil {
		return err
	}
	return WriteFiles(dir, files)
}

// objectFiles returns the files of objects by name.
func objectFiles(objects []translate.Object) (map[string][]byte, error) {
	files := make(map[string][]byte, len(objects))
	for _, o := range objects {
		text, err := Marshal(o)
		if err != nil {
			return nil, err
		}
		name := fileName(o)
		if _, taken := files[name]; taken {
			return nil, fmt.Errorf("two objects would be written to %q", name)
		}
		files[name] = text
	}
	return files, nil
}

// fileName names the file of an object: a rank by kind, kind and name. It
// depends on nothing else, so that it stays when other objects come and go.
func fileName(o translate.Object) string {
	kind := o.GetObjectKind().GroupVersionKind().Kind
	return fmt.Sprintf("%02d-%s-%s.yaml", rankOf(kind), strings.ToLower(kind), o.GetName())
}

// rankOf is the place of a kind in the order of applying.
func rankOf(kind string) int {
	switch kind {
	case "Namespace":
		return 0
	case "ServiceAccount", "NetworkPolicy", "PersistentVolume":
		return 10
	case "ConfigMap", "Secret", "PersistentVolumeClaim":
		return 20
	case "Service":
		return 30
	case "Ingress":
		return 50
	case "HorizontalPodAutoscaler":
		return 60
	}
	return 40
}

// inventoryName is the file in a folder that lists what berth wrote there. It
// ends in nothing that kubectl reads.
const inventoryName = ".berth-inventory"

// stageName is the folder in which files wait until all are written.
const stageName = ".berth-stage"

// An inventory lists the files that berth wrote, relative to their folder.
type inventory struct {
	Note  string   `json:"note"`
	Files []string `json:"files"`
}

// WriteFiles makes a folder hold the given files, by relative slash path, and
// removes those that an earlier call wrote and that are no longer among them.
// Files that are not berth's stay as they are; one that stands in the way is an
// error. Nothing changes unless every file could be written.
func WriteFiles(dir string, files map[string][]byte) (err error) {
	before, err := readInventory(dir)
	if err != nil {
		return err
	}
	if err := refuseForeign(dir, files, before); err != nil {
		return err
	}
	stage := filepath.Join(dir, stageName)
	if err := errors.Join(os.RemoveAll(stage), os.MkdirAll(stage, 0o755)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if err := write(filepath.Join(stage, filepath.FromSlash(name)), files[name]); err != nil {
			return err
		}
	}
	// From here on every file is berth's, whenever this is interrupted.
	if err := writeInventory(dir, append(slices.Clone(before), names...)); err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(stage, filepath.FromSlash(name)), path); err != nil {
			return err
		}
	}
	for _, name := range before {
		if _, wanted := files[name]; !wanted {
			if err := remove(dir, name); err != nil {
				return err
			}
		}
	}
	return writeInventory(dir, names)
}

// refuseForeign reports files of somebody else that would be overwritten.
func refuseForeign(dir string, files map[string][]byte, ours []string) error {
	known := map[string]bool{}
	for _, name := range ours {
		known[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if known[name] {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Lstat(path); err == nil {
			return &ForeignFileError{Path: path}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// A ForeignFileError says that a file which berth did not write is in the way.
type ForeignFileError struct{ Path string }

// Error names the file.
func (e *ForeignFileError) Error() string {
	return fmt.Sprintf("the file %q is not berth's, and would be overwritten", e.Path)
}

// Hint says what the user can do.
func (e *ForeignFileError) Hint() string { return "move it away, or write to another folder" }

func readInventory(dir string) ([]string, error) {
	path := filepath.Join(dir, inventoryName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var i inventory
	if err := json.Unmarshal(text, &i); err != nil {
		return nil, fmt.Errorf("the inventory %q is damaged: %w", path, err)
	}
	for _, name := range i.Files {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return nil, fmt.Errorf("the inventory %q names a file outside the folder: %q", path, name)
		}
	}
	return i.Files, nil
}

func writeInventory(dir string, names []string) error {
	slices.Sort(names)
	text, err := json.MarshalIndent(inventory{
		Note:  "berth translate wrote these files, and removes those that are no longer needed",
		Files: slices.Compact(names),
	}, "", "  ")
	if err != nil {
		return err
	}
	staged := filepath.Join(dir, stageName, inventoryName)
	if err := write(staged, append(text, '\n')); err != nil {
		return err
	}
	return os.Rename(staged, filepath.Join(dir, inventoryName))
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// remove deletes a file and the folders that are empty without it.
func remove(dir, name string) error {
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for path = filepath.Dir(path); path != filepath.Clean(dir); path = filepath.Dir(path) {
		if os.Remove(path) != nil {
			return nil // not empty
		}
	}
	return nil
}
