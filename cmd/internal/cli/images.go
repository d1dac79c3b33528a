package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/image"
)

func newImagesCommand(app *App) *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "images [SERVICE...]",
		Short: "List the images of services, in the engine and on the nodes",
		Long: `List the images of services: what the engine holds, and on how many nodes of the
cluster pods find it.`,
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := app.projectImages(cmd.Context(), args, false)
			if err != nil {
				return err
			}
			list, nodes, err := app.listImages(cmd.Context(), p)
			if err != nil {
				return err
			}
			app.settle()
			switch {
			case quiet:
				for _, l := range list {
					if l.Found {
						fmt.Fprintln(app.Out, l.ID)
					}
				}
				return nil
			case format == "json":
				return app.imagesJSON(p, list)
			}
			return app.imagesTable(p, list, nodes)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print image IDs only")
	addFormatFlag(cmd, &format)
	return cmd
}

// listImages asks the engine and the nodes of the cluster, if it runs.
func (app *App) listImages(ctx context.Context, p projectImages) ([]image.Listing, int, error) {
	engine, err := app.docker(ctx)
	if err != nil {
		return nil, 0, err
	}
	images, err := app.images(ctx)
	if err != nil {
		return nil, 0, err
	}
	var nodes []image.Node
	if app.owned() {
		found, err := image.NodesOf(ctx, engine, app.clusterName())
		if err != nil {
			return nil, 0, err
		}
		for _, n := range found {
			defer n.Close()
			nodes = append(nodes, n)
		}
	}
	var refs []string
	for _, img := range p.picked {
		refs = append(refs, img.Ref)
	}
	list, err := images.List(ctx, refs, nodes)
	return list, len(nodes), err
}

func (app *App) imagesTable(p projectImages, list []image.Listing, nodes int) error {
	w := tabwriter.NewWriter(app.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tIMAGE\tTAG\tID\tSIZE\tCREATED\tNODES")
	for n, l := range list {
		services := strings.Join(p.picked[n].Services, ", ")
		on := "-"
		if nodes > 0 {
			on = fmt.Sprintf("%d/%d", len(l.Nodes), nodes)
		}
		if !l.Found {
			fmt.Fprintf(w, "%s\t%s\t-\tnot in the engine\t-\t-\t%s\n", services, l.Ref, on)
			continue
		}
		name, tag := imageNameTag(l)
		fmt.Fprintf(w, "%s\t%s\t%s\t%.12s\t%s\t%s\t%s\n", services, name, tag, strings.TrimPrefix(l.ID, "sha256:"), sizeText(l.Size), createdText(l.Created), on)
	}
	return w.Flush()
}

func createdText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// imageNameTag splits what pods use of an image for the table.
func imageNameTag(l image.Listing) (name, tag string) {
	used := l.Ref
	if l.Tag != "" {
		used = l.Tag
	}
	if at := strings.LastIndex(used, ":"); at > strings.LastIndex(used, "/") {
		return used[:at], used[at+1:]
	}
	return used, "latest"
}

type imageJSON struct {
	Services []string  `json:"services"`
	Image    string    `json:"image"`
	Tag      string    `json:"contentTag,omitempty"`
	Found    bool      `json:"inEngine"`
	ID       string    `json:"id,omitempty"`
	Size     int64     `json:"size,omitempty"`
	Created  time.Time `json:"created,omitzero"`
	Nodes    []string  `json:"nodes"`
}

func (app *App) imagesJSON(p projectImages, list []image.Listing) error {
	out := []imageJSON{}
	for n, l := range list {
		nodes := l.Nodes
		if nodes == nil {
			nodes = []string{}
		}
		out = append(out, imageJSON{p.picked[n].Services, l.Ref, l.Tag, l.Found, l.ID, l.Size, l.Created, nodes})
	}
	encoder := json.NewEncoder(app.Out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}
