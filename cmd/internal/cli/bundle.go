package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/bundle"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

func newBundleCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Pack a project and all it needs into one file, and load it without a network",
		Long: `A bundle is one file with everything that a project or a workshop needs on a
machine without a network: node image, ingress controller, the project's images
and those its builds start from, its files, and berth itself. It is an OCI image
layout, compressed with zstd, every layer once, every byte checked.`,
		Args: refuseUnknownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBundleCreateCommand(app), newBundleInspectCommand(app), newBundleVerifyCommand(app), newBundleLoadCommand(app))
	return cmd
}

// oneBundle is the argument check of verbs that read one bundle.
func oneBundle(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return problem.New("name one bundle", nil, "berth bundle --help")
	}
	return nil
}

// openBundle opens a bundle and reads its head. What it returns closes both.
func (app *App) openBundle(path string) (*bundle.Reader, *os.File, error) {
	f, err := os.Open(app.path(path))
	if err != nil {
		return nil, nil, err
	}
	r, err := bundle.NewReader(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return r, f, nil
}

// path is a path of the command line, absolute.
func (app *App) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(app.Dir, p)
}

func newBundleInspectCommand(app *App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what is in a bundle; reads its beginning only",
		Args:  oneBundle,
		RunE: func(_ *cobra.Command, args []string) error {
			r, f, err := app.openBundle(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			defer r.Close()
			if format == "json" {
				return json.NewEncoder(app.Out).Encode(r.Contents)
			}
			c := r.Contents
			signed := "not signed"
			if r.Signed {
				signed = "signed"
			}
			fmt.Fprintf(app.Out, "%s, for %s, made %s by berth %s, %s, %s of layers and files\n\n", c.Name, c.Platform,
				c.Created.Local().Format(time.DateTime), c.Berth, signed, sizeText(c.Size))
			w := tabwriter.NewWriter(app.Out, 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "WHAT\tFOR\tSIZE")
			for _, i := range c.Images {
				fmt.Fprintf(w, "%s\t%s\t%s\n", i.Ref, i.Use, sizeText(i.Size))
			}
			for _, file := range c.Files {
				fmt.Fprintf(w, "files\t%s %s\t%s\n", file.Kind, file.Platform, sizeText(file.Size))
			}
			return w.Flush()
		},
	}
	addFormatFlag(cmd, &format)
	return cmd
}

func newBundleVerifyCommand(app *App) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check every byte of a bundle and, with a key, its signature",
		Args:  oneBundle,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, f, err := app.openBundle(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			defer r.Close()
			if err := checkSignature(r, key); err != nil {
				return err
			}
			task := progress.Start(app.sink(), "verify "+args[0], "reading it")
			images, err := r.Blobs(cmd.Context(), nil, everySecond(task, r.Contents.Size))
			if err := task.End(err, fmt.Sprintf("%d images, %s", len(images), sizeText(r.Contents.Size))); err != nil {
				return err
			}
			if r.Signed && key == "" {
				progress.Say(app.sink(), progress.Note, "", "the bundle is signed; --public-key says whether by whom you think")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&key, "public-key", "", "minisign public `key`, or its file: the bundle must be signed with it")
	return cmd
}

// checkSignature checks the signature, where a key says that there must be one.
func checkSignature(r *bundle.Reader, key string) error {
	if key == "" {
		return nil
	}
	verify, err := bundle.Verifier(key)
	if err != nil {
		return err
	}
	return r.Verify(verify)
}

// everySecond passes progress in bytes on, not oftener than anybody can read.
func everySecond(task *progress.Task, total int64) func(done int64) {
	var last time.Time
	return func(done int64) {
		if now := time.Now(); now.Sub(last) > 200*time.Millisecond {
			last = now
			task.Progress(done, total)
		}
	}
}

// writeWhole writes a file so that it is whole or not there. What one that was
// killed left is removed.
func writeWhole(ctx context.Context, path string, write func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	unfinished := bundle.Unfinished + filepath.Base(path) + "-"
	if err := removeStale(filepath.Join(filepath.Dir(path), unfinished+"*"), time.Now().Add(-staleAfter)); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), unfinished)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(write(f), f.Sync(), f.Chmod(0o644), f.Close(), ctx.Err()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// staleAfter is how long nobody has written to an unfinished file that nobody
// will finish: one that is being written grows all the time.
const staleAfter = 10 * time.Minute

// removeStale removes the files of a pattern that were last written before.
func removeStale(pattern string, before time.Time) error {
	found, err := filepath.Glob(pattern)
	for _, name := range found {
		if info, gone := os.Stat(name); gone == nil && info.ModTime().Before(before) {
			err = errors.Join(err, os.Remove(name))
		}
	}
	return err
}
