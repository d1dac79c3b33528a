package offline

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/templates"
)

// A Recipe says how one stand-in is made and for which images it stands in.
// The recipes are data: templates/offline/bases/bases.yaml.
type Recipe struct {
	Name      string            `json:"name"`
	Like      string            `json:"like"`      // the folder with its files, when it is not Name
	Holds     string            `json:"holds"`     // what is really inside, for people
	Refs      []string          `json:"refs"`      // the images it stands in for
	Packages  []string          `json:"packages"`  // of Debian
	Users     []string          `json:"users"`     // name:number, made before the packages are installed
	Toolchain string            `json:"toolchain"` // "go": this machine's Go is copied to /usr/local/go
	APK       bool              `json:"apk"`       // Dockerfiles may call Alpine's apk
	Env       map[string]string `json:"env"`       // for install.sh only
	Config    []string          `json:"config"`    // Dockerfile instructions

	fetch   string            // fetch.sh: prints an archive to unpack, in a container of its own
	install string            // install.sh
	files   map[string]string // files to copy, by path
}

const basesDir = "offline/bases"

// Recipes returns every recipe, in the order of the table.
func Recipes() ([]Recipe, error) {
	raw, err := fs.ReadFile(templates.Offline, path.Join(basesDir, "bases.yaml"))
	if err != nil {
		return nil, err
	}
	var all []Recipe
	if err := yaml.UnmarshalStrict(raw, &all); err != nil {
		return nil, fmt.Errorf("bases.yaml: %w", err)
	}
	for i := range all {
		if err := all[i].readFiles(); err != nil {
			return nil, fmt.Errorf("stand-in %q: %w", all[i].Name, err)
		}
	}
	return all, nil
}

// readFiles reads the recipe's folder, which need not exist.
func (r *Recipe) readFiles() error {
	folder := path.Join(basesDir, r.Name)
	if r.Like != "" {
		folder = path.Join(basesDir, r.Like)
	}
	r.APK = r.APK || r.Name == "alpine"
	r.files = map[string]string{}
	if r.APK {
		apk, err := fs.ReadFile(templates.Offline, path.Join(basesDir, "common", "apk"))
		if err != nil {
			return err
		}
		r.files["usr/local/bin/apk"] = string(apk)
	}
	if _, err := fs.Stat(templates.Offline, folder); err != nil {
		return nil
	}
	return fs.WalkDir(templates.Offline, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(templates.Offline, name)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(name, folder+"/")
		if target, ok := strings.CutPrefix(rel, "root/"); ok {
			r.files[target] = string(raw)
		}
		switch rel {
		case "install.sh":
			r.install = string(raw)
		case "fetch.sh":
			r.fetch = string(raw)
		}
		return nil
	})
}

// standsInFor reports whether the recipe is for an image reference.
func (r *Recipe) standsInFor(ref string) bool {
	short := shortRef(ref)
	return slices.ContainsFunc(r.Refs, func(x string) bool { return shortRef(x) == short })
}

// archive returns the recipe's files as an archive; scripts are executable.
func (r *Recipe) archive() ([]byte, error) {
	var files []tarFile
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		mode := int64(0o644)
		if strings.HasPrefix(r.files[name], "#!") {
			mode = 0o755
		}
		files = append(files, tarFile{name: name, mode: mode, data: []byte(r.files[name])})
	}
	return tarOf(files...)
}

// baseLayoutVersion changes when the code makes the same recipe into another
// image.
const baseLayoutVersion = "2"

// key changes with anything that goes into the stand-in.
func (r *Recipe) key(common string, authorities map[string]string) string {
	parts := []string{
		baseLayoutVersion, debianKey(), runtime.GOARCH, r.Name, strings.Join(r.Packages, " "), strings.Join(r.Users, " "), strings.Join(r.Config, "\n"),
		r.fetch, r.install, sortedText(r.files), sortedText(r.Env), common, sortedText(authorities),
	}
	if r.Toolchain == "go" {
		parts = append(parts, goVersion())
	}
	return keyOf(parts...)
}

// shortRef is the shortest name of an image of Docker Hub with its tag; other
// registries' names stay as they are. A digest cannot be stood in for.
func shortRef(ref string) string {
	for _, prefix := range []string{"docker.io/", "index.docker.io/", "library/"} {
		ref = strings.TrimPrefix(ref, prefix)
	}
	if !strings.Contains(ref[strings.LastIndex(ref, "/")+1:], ":") && !strings.Contains(ref, "@") {
		ref += ":latest"
	}
	return ref
}
