// Command cniagent is the pod network of the offline kit, one on each node: it
// writes the node's CNI configuration, keeps routes to the pods of the other
// nodes, masquerades what leaves the pod network and enforces NetworkPolicy.
// IPv4 only, standard library only; ip and nft do the work.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// A config is what the DaemonSet tells the agent through its environment.
type config struct {
	node      string // this node's name
	podSubnet string // of the whole cluster
	server    string // address of the API server
	cniDir    string
}

func configFromEnv() (config, error) {
	c := config{
		node: os.Getenv("NODE_NAME"), podSubnet: os.Getenv("POD_SUBNET"),
		server: os.Getenv("CONTROL_PLANE_ENDPOINT"), cniDir: os.Getenv("CNI_DIR"),
	}
	if c.server == "" {
		c.server = os.Getenv("KUBERNETES_SERVICE_HOST") + ":" + os.Getenv("KUBERNETES_SERVICE_PORT")
	}
	if c.node == "" || c.podSubnet == "" || c.cniDir == "" {
		return c, errors.New("NODE_NAME, POD_SUBNET and CNI_DIR must be set")
	}
	return c, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx)
	told := ctx.Err() != nil
	stop()
	if err != nil && !told {
		log.Fatal(err)
	}
}

// run keeps the node's network as the cluster wants it until ctx ends. Any
// change in the cluster leads to one turn; turns are at least settle apart.
func run(ctx context.Context) error {
	conf, err := configFromEnv()
	if err != nil {
		return err
	}
	api, err := newClient(conf.server)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	state := watchCluster(ctx, api, changed)
	net := network{conf: conf}
	const settle = 50 * time.Millisecond
	refresh := time.NewTicker(time.Minute) // puts back what somebody removed by hand
	defer refresh.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-refresh.C:
			net.forget()
		}
		if err := net.sync(ctx, state.snapshot()); err != nil {
			log.Print(err)
			retryLater(changed)
		}
		select {
		case <-ctx.Done():
		case <-time.After(settle):
		}
	}
}

// retryLater asks for another turn in a while.
func retryLater(changed chan<- struct{}) {
	time.AfterFunc(2*time.Second, func() { notify(changed) })
}

func notify(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// sync makes the node's network fit the cluster.
func (n *network) sync(ctx context.Context, c cluster) error {
	if !c.nodesKnown {
		return nil
	}
	if err := n.syncRoutes(ctx, c.nodes); err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	if !c.policiesKnown {
		return nil
	}
	if err := n.syncPolicies(ctx, c); err != nil {
		return fmt.Errorf("network policies: %w", err)
	}
	return nil
}
