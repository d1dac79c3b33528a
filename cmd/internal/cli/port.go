package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

func newPortCommand(app *App) *cobra.Command {
	var protocol, format string
	cmd := &cobra.Command{
		Use:               "port [SERVICE [PRIVATE_PORT]]",
		Short:             "Print the host address that leads to a port of a service",
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: app.completeService,
		RunE: func(cmd *cobra.Command, args []string) error {
			if protocol != "tcp" && protocol != "udp" {
				return misuse(fmt.Sprintf("--protocol %q", protocol), nil, "use tcp or udp")
			}
			var services []string
			if len(args) > 0 {
				services = args[:1]
			}
			input, _, err := app.project(cmd.Context(), services)
			if err != nil {
				return err
			}
			if !app.owned() {
				return problem.New("published ports", errors.New("this machine publishes none of another cluster's"), "berth --context "+app.global.context+" port-forward SERVICE [LOCAL:]PORT")
			}
			ports, err := app.publishedPorts(cmd.Context(), input.Project.Name)
			if err != nil {
				return err
			}
			ports, err = selectPorts(ports, args, protocol)
			if err != nil {
				return err
			}
			if format == "json" {
				return json.NewEncoder(app.Out).Encode(listOf(ports))
			}
			for _, p := range ports {
				address := net.JoinHostPort(p.HostIP, strconv.Itoa(p.HostPort))
				if len(args) < 2 {
					address = fmt.Sprintf("%s %d/%s -> %s", p.Service, p.Target, p.Protocol, address)
				}
				fmt.Fprintln(app.Out, address)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&protocol, "protocol", "tcp", "tcp or udp")
	addFormatFlag(cmd, &format)
	return cmd
}

// selectPorts keeps the ports that SERVICE and PRIVATE_PORT name. Naming one
// that is not published is an error.
func selectPorts(ports []model.PublishedPort, args []string, protocol string) ([]model.PublishedPort, error) {
	if len(args) == 0 {
		return ports, nil
	}
	ports = slices.DeleteFunc(slices.Clone(ports), func(p model.PublishedPort) bool {
		return p.Service != args[0] || len(args) == 2 && (strconv.Itoa(p.Target) != args[1] || p.Protocol != protocol)
	})
	switch {
	case len(ports) > 0:
		return ports, nil
	case len(args) == 1:
		return nil, problem.New(fmt.Sprintf("service %q has no published port", args[0]), nil, "berth up, if it is not up; berth port-forward reaches ports that the compose file does not publish")
	}
	return nil, problem.New(fmt.Sprintf("port %s/%s of service %q is not published", args[1], protocol, args[0]), nil, "berth port "+args[0]+" lists those that are")
}
