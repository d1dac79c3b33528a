package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

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
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
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
	if len(ports) == 0 {
		return nil, problem.New(fmt.Sprintf("no port %s of service %q is published", strings.Join(args[1:], " "), args[0]), nil, "berth ps")
	}
	return ports, nil
}
