package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/doctor"
	"github.com/berth-dev/berth/infra/ingress"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

func newDoctorCommand(app *App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps berth from working on this machine",
		Long: `Look at the engine, the machine and the cluster. Every finding comes with its
reason and its cure. The exit status is 1 if something keeps berth from working.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			results := doctor.Run(cmd.Context(), app.checks(cmd.Context()))
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if format == "json" {
				if err := json.NewEncoder(app.Out).Encode(results); err != nil {
					return err
				}
			} else if err := app.printFindings(results); err != nil {
				return err
			}
			return doctor.Blocked(results)
		},
	}
	addFormatFlag(cmd, &format)
	return cmd
}

func (app *App) printFindings(results []doctor.Result) error {
	w := tabwriter.NewWriter(app.Out, 0, 0, 2, ' ', 0)
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Verdict, r.Name, r.Reason)
		if r.Cure != "" {
			fmt.Fprintf(w, "\t\tTry: %s\n", r.Cure)
		}
	}
	return w.Flush()
}

var errNoEngine = errors.New("there is no engine to ask")

// checks wires the doctor's checks to the real machine.
func (app *App) checks(ctx context.Context) []doctor.Check {
	manager, err := app.clusters(ctx)
	if err != nil {
		nothing := doctor.Cluster{Facts: func(context.Context) (doctor.ClusterFacts, error) { return doctor.ClusterFacts{}, errNoEngine }}
		return slices.Concat(withoutEngine(err).Checks(), nothing.Checks())
	}
	machine := withEngine(app.engine, manager)
	info, err := manager.Status(ctx, app.clusterName())
	if err == nil && info.State == cluster.Running {
		machine.OwnPorts = []int{info.HTTPPort(), info.HTTPSPort()}
	}
	// Several checks want these: they are read once.
	objects := sync.OnceValues(func() (doctor.Objects, error) { return app.readObjects(ctx) })
	return slices.Concat(machine.Checks(), doctor.Cluster{
		Facts: func(context.Context) (doctor.ClusterFacts, error) {
			return doctor.ClusterFacts{
				Name: info.Name, State: string(info.State), Err: info.Err(), Owned: info.Owned, HTTPPort: info.HTTPPort(),
			}, err
		},
		Read:    func(context.Context) (doctor.Objects, error) { return objects() },
		Answers: ingress.Answers,
	}.Checks())
}

// withoutEngine is a machine of which only that is known for which no engine
// has to be asked; err says why there is none.
func withoutEngine(err error) doctor.Machine {
	return doctor.Machine{
		Host:       func(context.Context) (docker.Host, error) { return docker.Host{}, err },
		PortHolder: func(context.Context, int) (string, error) { return "", errNoEngine },
		StandIns:   func(context.Context) ([]string, error) { return nil, errNoEngine },
		NodeImage:  func(context.Context) (string, bool, error) { return "", false, errNoEngine },
		Lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		},
		ReadFile: os.ReadFile,
		FreeDisk: doctor.FreeDisk,
		LookPath: exec.LookPath,
	}
}

func withEngine(engine *docker.Client, manager *cluster.Manager) doctor.Machine {
	m := withoutEngine(nil)
	m.Host = engine.HostFacts
	m.PortHolder = func(ctx context.Context, port int) (string, error) {
		return engine.PortHolder(ctx, netip.MustParseAddr("127.0.0.1"), port)
	}
	m.NodeImage = func(ctx context.Context) (string, bool, error) { return manager.NodeImage(ctx, "") }
	m.StandIns = func(ctx context.Context) ([]string, error) {
		images, err := engine.Images(ctx, model.LabelStandIn+"=true")
		if err != nil {
			return nil, err
		}
		var names []string
		for _, i := range images {
			for _, tag := range i.Tags {
				if !strings.HasPrefix(tag, "berth/") { // the kit's own second name for it
					names = append(names, tag)
				}
			}
		}
		slices.Sort(names)
		return names, nil
	}
	return m
}

// readObjects reads what the checks of the cluster look at.
func (app *App) readObjects(ctx context.Context) (doctor.Objects, error) {
	var o doctor.Objects
	client, err := app.kube()
	if err != nil {
		return o, err
	}
	if o.Nodes, err = kube.List[corev1.Node](ctx, client, "", ""); err != nil {
		return o, err
	}
	if o.DNS, err = kube.List[appsv1.Deployment](ctx, client, "kube-system", "k8s-app=kube-dns"); err != nil {
		return o, err
	}
	if o.SystemDaemons, err = kube.List[appsv1.DaemonSet](ctx, client, "kube-system", ""); err != nil {
		return o, err
	}
	o.IngressClasses, err = kube.List[networkingv1.IngressClass](ctx, client, "", "")
	return o, err
}
