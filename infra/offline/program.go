package offline

import (
	"archive/tar"
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/progress"
)

// sources holds the programs of the kit that are berth's own. They use the
// standard library only, so that they build without fetching anything.
//
//go:embed pause/*.go cniagent/*.go
var sources embed.FS

// A program is one of berth's own, built for the engine's machine.
type program struct {
	name   string
	source map[string]string // by file name
}

// programs are the kit's own programs by name.
var programs = readPrograms()

func readPrograms() map[string]program {
	all := map[string]program{}
	dirs, err := sources.ReadDir(".")
	if err != nil {
		panic(err) // embedded: cannot fail
	}
	for _, d := range dirs {
		p := program{name: d.Name(), source: map[string]string{}}
		files, err := fs.Glob(sources, path.Join(d.Name(), "*.go"))
		if err != nil {
			panic(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			raw, err := sources.ReadFile(f)
			if err != nil {
				panic(err)
			}
			p.source[path.Base(f)] = string(raw)
		}
		all[p.name] = p
	}
	return all
}

func (p program) key() string { return keyOf(goVersion(), runtime.GOARCH, sortedText(p.source)) }

// buildProgram builds a program and returns the folder that holds it.
func (k *Kit) buildProgram(ctx context.Context, task *progress.Task, p program) (string, error) {
	return k.store.make(ctx, p.name, p.key(), task, func(dir string) error {
		src, err := os.MkdirTemp("", "berth-"+p.name+"-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(src)
		for name, text := range p.source {
			if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		mod := fmt.Sprintf("module kit.berth.dev/%s\n\ngo 1.24\n", p.name)
		if err := os.WriteFile(filepath.Join(src, "go.mod"), []byte(mod), 0o644); err != nil {
			return err
		}
		task.Update("building " + p.name)
		return goBuild(src, filepath.Join(dir, p.name), "", "").run(ctx, task)
	})
}

// A tarFile is one file of a small archive.
type tarFile struct {
	name string
	mode int64
	data []byte
	link string // a symbolic link's target
}

// tarOf makes an archive; its bytes depend on the files alone.
func tarOf(files ...tarFile) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	var errs []error
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: time.Unix(0, 0)}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		err := w.WriteHeader(h)
		errs = append(errs, err)
		_, err = w.Write(f.data)
		errs = append(errs, err)
	}
	return buf.Bytes(), errors.Join(append(errs, w.Close())...)
}
