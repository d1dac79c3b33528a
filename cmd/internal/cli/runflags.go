package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// capabilities are names as Kubernetes wants them: without CAP_.
func capabilities(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, strings.TrimPrefix(strings.ToUpper(n), "CAP_"))
	}
	return out
}

// parseLabels reads KEY=VALUE, or KEY for an empty value.
func parseLabels(args []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		if key == "" {
			return nil, misuse(fmt.Sprintf("--label %q", arg), nil, "write KEY=VALUE")
		}
		labels[key] = value
	}
	return labels, nil
}

// A runPort is a port of this machine that leads to one of the pod.
type runPort struct {
	listen string
	remote int
}

// runPorts reads --publish, and the service's own ports where they are asked for.
func (app *App) runPorts(ctx context.Context, service string, opts runOptions) ([]runPort, error) {
	var all []types.ServicePortConfig
	for _, arg := range opts.publish {
		ports, err := types.ParsePortConfig(arg)
		if err != nil {
			return nil, misuse(fmt.Sprintf("--publish %q", arg), err, "write HOST:CONTAINER, for example 8080:80")
		}
		all = append(all, ports...)
	}
	if opts.servicePort {
		input, _, err := app.readProject(ctx, []string{service})
		if err != nil {
			return nil, err
		}
		all = append(all, input.Project.Services[service].Ports...)
	}
	if len(all) > 0 && opts.detach {
		return nil, misuse("run --detach", errors.New("ports are published as long as berth runs, which ends at once"),
			"leave out --detach, or use `berth port-forward`")
	}
	var out []runPort
	for _, p := range all {
		if p.Protocol != "" && p.Protocol != "tcp" {
			return nil, problem.New(fmt.Sprintf("publish port %d/%s", p.Target, p.Protocol), errors.New("only TCP ports of a one-off pod can be published"), "leave it out; `berth up` publishes the UDP ports of services")
		}
		host, _, _ := strings.Cut(p.Published, "-") // the first of a range
		out = append(out, runPort{net.JoinHostPort(cmp.Or(p.HostIP, "127.0.0.1"), cmp.Or(host, "0")), int(p.Target)})
	}
	return out, nil
}

// publishRun listens on the ports until the function that it returns is called.
func (app *App) publishRun(ctx context.Context, r *running, pod apply.Pod, ports []runPort) (unpublish func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	unpublish = func() {
		cancel()
		work.Wait()
	}
	var lc net.ListenConfig
	for _, p := range ports {
		listener, err := lc.Listen(ctx, "tcp", p.listen)
		if err != nil {
			unpublish()
			return nil, problem.New("publish "+p.listen, err, "choose another port: --publish HOST:"+strconv.Itoa(p.remote))
		}
		progress.Say(app.sink(), progress.Note, "publish", fmt.Sprintf("%s -> %s:%d", listener.Addr(), pod.Name, p.remote))
		work.Go(func() {
			// What goes wrong with one connection, its client sees.
			_ = r.kube.PortForward(ctx, kube.Forward{
				Listener: listener, Namespace: r.Namespace(), Port: p.remote,
				Pod: func(context.Context) (string, error) { return pod.Name, nil },
			})
		})
	}
	app.settle()
	return unpublish, nil
}

// mountParts reads a value of --volume.
func mountParts(arg string) ([]string, error) {
	parts := strings.Split(arg, ":")
	if len(parts) < 2 || len(parts) > 3 || !path.IsAbs(parts[1]) {
		return nil, misuse(fmt.Sprintf("--volume %q", arg), nil, "write SOURCE:TARGET or SOURCE:TARGET:ro, TARGET being an absolute path")
	}
	return parts, nil
}

// runMounts reads --volume.
func (app *App) runMounts(ctx context.Context, args []string) ([]apply.OneOffMount, error) {
	var mounts []apply.OneOffMount
	for _, arg := range args {
		parts, err := mountParts(arg)
		if err != nil {
			return nil, err
		}
		m := apply.OneOffMount{Volume: parts[0], Target: parts[1], ReadOnly: len(parts) == 3 && parts[2] == "ro"}
		if strings.ContainsAny(parts[0], "./~") {
			node, err := app.nodePath(ctx, parts[0])
			if err != nil {
				return nil, problem.New(fmt.Sprintf("--volume %q", arg), err, "only clusters made with --mount DIR see directories of this machine; `berth cp` copies files")
			}
			m.Volume, m.NodePath = "", node
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// nodePath is where the cluster's nodes see a path of this machine.
func (app *App) nodePath(ctx context.Context, host string) (string, error) {
	if !filepath.IsAbs(host) {
		host = filepath.Join(app.Dir, host)
	}
	if !app.owned() {
		return "", errors.New("the nodes of that cluster do not see it")
	}
	manager, err := app.clusters(ctx)
	if err != nil {
		return "", err
	}
	info, err := manager.Status(ctx, app.clusterName())
	if err != nil {
		return "", err
	}
	var mounts []cluster.Mount
	if info.Spec != nil {
		mounts = info.Spec.Mounts
	}
	for _, m := range mounts {
		below, err := filepath.Rel(m.Source, host)
		if err == nil && below != ".." && !strings.HasPrefix(below, ".."+string(filepath.Separator)) {
			return path.Join(m.Target, filepath.ToSlash(below)), nil
		}
	}
	return "", fmt.Errorf("the nodes do not see %s", host)
}
