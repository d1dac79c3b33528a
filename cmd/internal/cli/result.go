package cli

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// upJSON is what `up --format json` prints.
type upJSON struct {
	Project   string                `json:"project"`
	Namespace string                `json:"namespace"`
	URLs      []string              `json:"urls"`
	Ports     []model.PublishedPort `json:"ports"`
	Changes   []changeJSON          `json:"changes"`
	Report    []translate.Entry     `json:"report"`
}

type changeJSON struct {
	Object string     `json:"object"`
	Change model.Verb `json:"change"`
}

// newImages reports whether up brought an image to a node that it did not have.
func newImages(r devloop.UpResult) bool {
	return slices.ContainsFunc(r.Loads, func(l model.NodeLoad) bool { return l.Outcome == model.LoadSent })
}

// printUp prints where a project that is up can be reached.
func (app *App) printUp(r devloop.UpResult, format string) error {
	if format == "json" {
		out := upJSON{
			Project: r.Project, Namespace: r.Namespace, URLs: listOf(r.URLs), Ports: listOf(r.Ports), Report: listOf(r.Report),
			Changes: []changeJSON{},
		}
		for _, c := range r.Changes {
			out.Changes = append(out.Changes, changeJSON{c.Key.String(), c.Verb})
		}
		encoder := json.NewEncoder(app.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(out)
	}
	app.advise(r)
	for _, url := range addresses(r) {
		if _, err := fmt.Fprintln(app.Out, url); err != nil {
			return err
		}
	}
	return nil
}

// advise says in one line each what the user should know besides.
func (app *App) advise(r devloop.UpResult) {
	sink := app.sink()
	var lost int
	for _, e := range r.Report {
		if e.Status == translate.Dropped || e.Status == translate.NeedsCluster {
			lost++
		}
	}
	explain := "berth explain"
	if !app.owned() {
		explain += " --target portable"
	}
	if lost > 0 {
		progress.Say(sink, progress.Warn, "", fmt.Sprintf("%d attributes of the compose file have no effect here; `%s` lists them", lost, explain))
	}
	if len(r.Orphans) > 0 {
		progress.Say(sink, progress.Warn, "", fmt.Sprintf("the cluster runs services that the compose file no longer has: %s; --remove-orphans removes them", strings.Join(r.Orphans, ", ")))
	}
	app.settle()
}

// listOf is list, as JSON has it: an empty one is no null.
func listOf[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// addresses lists where services answer: published ports first, then the
// ingress. A service that the ingress leads to speaks HTTP on its ports.
func addresses(r devloop.UpResult) []string {
	var list []string
	for _, p := range r.Ports {
		address := net.JoinHostPort(hostOf(p.HostIP), strconv.Itoa(p.HostPort))
		switch {
		case r.HTTP[p.Service] && p.Protocol == "tcp":
			address = "http://" + address
		case p.Protocol != "tcp":
			address += "/" + p.Protocol
		}
		list = append(list, fmt.Sprintf("%-12s %s", p.Service, address))
	}
	return append(list, r.URLs...)
}

// hostOf is how a browser on this machine reaches a published address.
func hostOf(ip string) string {
	if ip == "" || ip == "127.0.0.1" || ip == "0.0.0.0" {
		return "localhost"
	}
	return ip
}
