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
		Args:              takes(0, 2, "name one service and one port at most"),
		ValidArgsFunction: app.completeService,
		RunE: func(cmd *cobra.Command, args []string) error {
			if protocol != "tcp" && protocol != "udp" {
				return misuse(fmt.Sprintf("--protocol %q", protocol), nil, "use tcp or udp")
			}
			if len(args) == 2 {
				if n, err := strconv.ParseUint(args[1], 10, 16); err != nil || n == 0 {
					return misuse(fmt.Sprintf("port %q", args[1]), nil, "write the number of a port of the container")
				}
			}
			if !app.owned() {
				return misuse("published ports", errors.New("this machine publishes none of another cluster's"), "berth --context "+app.global.context+" port-forward SERVICE [LOCAL:]PORT")
			}
			name, known, err := app.names(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) > 0 && len(known) > 0 && !slices.Contains(known, args[0]) {
				return unknownService(args[0], known)
			}
			ports, err := app.publishedPorts(cmd.Context(), name)
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
	cmd.Flags().StringVar(&protocol, "protocol", "tcp", "`protocol` of PRIVATE_PORT: tcp or udp")
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
