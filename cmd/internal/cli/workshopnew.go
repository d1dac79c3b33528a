package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/workshop"
	"github.com/berth-dev/berth/templates"
)

func newWorkshopNewCommand(app *App) *cobra.Command {
	var folder string
	cmd := &cobra.Command{
		Use:   "new DIR",
		Short: "Make a small workshop to begin with",
		RunE: func(*cobra.Command, []string) error {
			if err := writeNewWorkshop(folder); err != nil {
				return err
			}
			fmt.Fprintf(app.Out, "%s\n", folder)
			return nil
		},
	}
	app.folderArgument(cmd, &folder)
	needFolder := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return problem.New("name the folder to make", nil, "berth workshop new my-workshop")
		}
		return needFolder(cmd, args)
	}
	return cmd
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// writeNewWorkshop fills a folder, which holds no workshop yet, with one.
func writeNewWorkshop(folder string) error {
	if _, err := os.Stat(filepath.Join(folder, workshop.File)); !errors.Is(err, fs.ErrNotExist) {
		return problem.New(fmt.Sprintf("make a workshop in %q", folder), errors.New("there is one already"), "choose another folder")
	}
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(filepath.Base(folder)), "-"), "-")
	if name == "" {
		name = "my-workshop"
	}
	const root = "workshop/new"
	return fs.WalkDir(templates.Workshop, root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := templates.Workshop.ReadFile(file)
		if err != nil {
			return err
		}
		target := filepath.Join(folder, filepath.FromSlash(strings.TrimPrefix(file, root+"/")))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if path.Ext(file) == "" { // the programs
			mode = 0o755
		}
		if path.Base(file) == workshop.File {
			raw = []byte(strings.Replace(string(raw), "NAME", name, 1))
		}
		return os.WriteFile(target, raw, mode)
	})
}
