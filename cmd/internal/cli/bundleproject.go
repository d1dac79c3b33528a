package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// outsideFiles lists the files and folders of a project that are not below its
// folder: a bundle holds that folder alone. What the project names and the
// machine does not have is no file of the project.
func outsideFiles(input translate.Input, dir string) []string {
	paths := map[string]bool{}
	for _, path := range input.Files {
		if _, err := os.Stat(path); err == nil {
			paths[path] = true
		}
	}
	for path, facts := range input.Paths {
		if facts.Exists && !facts.Socket {
			paths[path] = true
		}
	}
	for _, s := range input.Project.Services {
		if s.Build == nil {
			continue
		}
		for _, path := range append(slices.Collect(maps.Values(s.Build.AdditionalContexts)), s.Build.Context, s.Build.Dockerfile) {
			if filepath.IsAbs(path) {
				paths[path] = true
			}
		}
	}
	var outside []string
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if rel, err := filepath.Rel(dir, path); err != nil || !filepath.IsLocal(rel) {
			outside = append(outside, path)
		}
	}
	return outside
}

// pinnedName are the files that keep a project its name wherever its folder is:
// .env, with the name, where the compose files do not say it.
func pinnedName(source composefile.Source, name string) (map[string][]byte, error) {
	if source.Named {
		return nil, nil
	}
	text, err := os.ReadFile(filepath.Join(source.Dir, ".env"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	const key = "COMPOSE_PROJECT_NAME="
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == key+name {
			return nil, nil
		}
	}
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	return map[string][]byte{".env": append(text, key+name+"\n"...)}, nil
}
