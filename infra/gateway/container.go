package gateway

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/agent/proxy"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// configFile is what a gateway's container holds: what the forwarder reads, and
// what each port is for.
type configFile struct {
	proxy.Config
	Slots []slot `json:"slots"`
}

// newConfig is a configuration with a generation of its own.
func newConfig(routes []Route, slots []slot, nodes []string) configFile {
	c := configFile{Config: proxy.Config{Generation: rand.Text()}, Slots: slots}
	for _, n := range nodes {
		c.Nodes = append(c.Nodes, proxy.Node(n))
	}
	for i, r := range routes {
		c.Routes = append(c.Routes, proxy.Route{
			Protocol: r.Protocol, Listen: ":" + strconv.Itoa(slots[i].ContainerPort), NodePort: r.NodePort,
		})
	}
	return c
}

// A prepared gateway has all it needs to start.
type prepared struct {
	id         string
	generation string // of its configuration
	slots      []slot
}

// create makes and starts the gateway, and undoes it when that goes wrong.
func (p *Publisher) create(ctx context.Context, spec Spec, cluster clusterFacts, slots []slot, agentHash string) error {
	g, err := p.prepare(ctx, spec, ContainerName(spec.Cluster, spec.Project), cluster, slots, agentHash)
	if err != nil {
		return err
	}
	if err := p.start(ctx, spec, g); err != nil {
		return errors.Join(err, p.discard(ctx, g.id))
	}
	return nil
}

// prepare makes a gateway's container, and undoes it when that goes wrong.
func (p *Publisher) prepare(ctx context.Context, spec Spec, name string, cluster clusterFacts, slots []slot, agentHash string) (prepared, error) {
	label, err := json.Marshal(slots)
	if err != nil {
		return prepared{}, err
	}
	run := docker.RunSpec{
		Image: spec.Image, Name: name, Network: cluster.network,
		Entrypoint: []string{agent.Path, "proxy", "--config", configPath},
		Labels: map[string]string{
			model.LabelGateway: spec.Project, model.LabelProject: spec.Project, model.LabelCluster: spec.Cluster,
			model.LabelManagedBy: model.ManagedBy, labelSlots: string(label), labelAgent: agentHash,
		},
		Restart: "unless-stopped", StopSignal: "SIGTERM", Confined: true,
	}
	for _, s := range slots {
		run.Ports = append(run.Ports, s.binding())
	}
	id, err := p.engine.CreateContainer(ctx, run)
	if err != nil {
		return prepared{}, asTaken(err, nil)
	}
	config := newConfig(spec.Routes, slots, cluster.nodes)
	err = agent.Install(ctx, p.engine, id)
	if err == nil {
		err = p.writeConfig(ctx, id, config)
	}
	if err != nil {
		return prepared{}, errors.Join(err, p.discard(ctx, id))
	}
	return prepared{id: id, generation: config.Generation, slots: slots}, nil
}

func (p *Publisher) discard(ctx context.Context, id string) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
	defer cancel()
	return p.engine.RemoveContainer(clean, id)
}

// start starts a gateway and returns when its ports lead somewhere.
func (p *Publisher) start(ctx context.Context, spec Spec, g prepared) error {
	if err := p.engine.StartContainer(ctx, g.id); err != nil {
		return p.explain(ctx, spec, asTaken(err, g.slots))
	}
	if err := p.ready(ctx, g.id, g.generation); err != nil {
		return err
	}
	return p.reachable(ctx, g.slots)
}

// reconfigure tells a running gateway where its ports lead now.
func (p *Publisher) reconfigure(ctx context.Context, g Gateway, want configFile) error {
	if err := p.writeConfig(ctx, g.id, want); err != nil {
		return err
	}
	if err := p.engine.Signal(ctx, g.id, "SIGHUP"); err != nil {
		return err
	}
	return p.ready(ctx, g.id, want.Generation)
}

func (p *Publisher) writeConfig(ctx context.Context, id string, c configFile) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(configPath, "/"), Mode: 0o644, Size: int64(len(raw))})
	if err == nil {
		_, err = w.Write(raw)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	return p.engine.CopyTo(ctx, id, "/", &buf)
}

// ready waits until the forwarder says that this generation of its
// configuration is in force. When another berth has given it a newer one
// meanwhile, that is a takenError.
func (p *Publisher) ready(ctx context.Context, id, generation string) error {
	const what = "wait for the gateway to listen"
	late := errors.New("it did not say so within 20 s")
	failed := func(err error) error {
		return problem.New(what, err, "run the command again; `berth doctor` finds what keeps containers of this engine from working")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, late)
	defer cancel()
	log, err := p.engine.FollowLog(ctx, id, 20)
	if err != nil {
		return failed(err)
	}
	defer log.Close()
	var last proxy.Status
	for lines := json.NewDecoder(log); ; {
		var s proxy.Status
		switch err := lines.Decode(&s); {
		case ctx.Err() != nil:
			return failed(detailed(context.Cause(ctx), last.Error))
		case err != nil:
			return failed(detailed(errors.New("it has ended"), last.Error))
		case s.Generation == generation && s.Ready:
			return nil
		case s.Generation == generation:
			return failed(errors.New(s.Error))
		case s.Generation != "" && p.superseded(ctx, id, generation):
			return &takenError{err: problem.New("publish ports", errors.New("another berth configures the gateway at the same time"),
				"let one of the commands end, then run the other again"), other: true}
		case s.Error != "":
			last = s
		}
	}
}

// detailed adds the gateway's own words to an error, if there are any.
func detailed(err error, words string) error {
	if words == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, words)
}

// superseded reports whether the gateway's configuration is another one by now.
func (p *Publisher) superseded(ctx context.Context, id, generation string) bool {
	var now configFile
	raw, err := p.engine.ReadFile(ctx, id, configPath)
	return err == nil && json.Unmarshal(raw, &now) == nil && now.Generation != generation
}

// reachable waits until the host's TCP ports are open, as far as this machine
// is that host. A connection is made only where nothing listens, because the
// engine forwards without a listener: the service behind would see it too.
// (UDP says nothing without a datagram, and none may be sent.)
func (p *Publisher) reachable(ctx context.Context, slots []slot) error {
	if !p.local {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, s := range slots {
		for s.Protocol == "tcp" && canListen(ctx, s) && !accepts(ctx, s) {
			select {
			case <-ctx.Done():
				return problem.New("publish "+s.listener(), errors.New("the gateway runs but the engine does not lead there"),
					"restart the engine, then run the command again; the engine's own log says why (Linux: journalctl -u docker)")
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

func accepts(ctx context.Context, s slot) bool {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(s.HostIP, strconv.Itoa(s.HostPort)))
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
