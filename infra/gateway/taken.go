package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
)

// takenError says that somebody else has what the gateway asks for.
type takenError struct {
	err   error
	other bool  // another berth is at the same gateway
	slot  *slot // who has this host port
}

func (e *takenError) Error() string { return e.err.Error() }
func (e *takenError) Unwrap() error { return e.err }

// asTaken knows the engine's words for a name or a port that is taken.
func asTaken(err error, slots []slot) error {
	text := err.Error()
	if strings.Contains(text, "is already in use by container") {
		return &takenError{err: err, other: true}
	}
	if !strings.Contains(text, "already allocated") && !strings.Contains(text, "address already in use") {
		return err
	}
	for _, s := range slots { // the message names address and port
		_, after, found := strings.Cut(text, strings.TrimSuffix(s.listener(), "/"+s.Protocol))
		if found && (after == "" || !unicode.IsDigit(rune(after[0]))) {
			return &takenError{err: err, slot: &s}
		}
	}
	return &takenError{err: err}
}

// replacedMeanwhile knows that a gateway that was there a moment ago is gone:
// another berth has replaced it.
func replacedMeanwhile(err error) error {
	if docker.IsNotFound(err) {
		return &takenError{err: err, other: true}
	}
	return err
}

// checkFree names the first fixed port that somebody else holds, before
// anything is changed. own are the ports of the gateway to be replaced.
func (p *Publisher) checkFree(ctx context.Context, spec Spec, slots, own []slot) error {
	if !p.local {
		return nil // the engine will tell
	}
	for _, s := range slots {
		if !slices.ContainsFunc(own, func(o slot) bool { return overlap(o, s) }) && !canListen(ctx, s) {
			return p.explain(ctx, spec, &takenError{err: errors.New("the port is taken"), slot: &s})
		}
	}
	return nil
}

// explain turns a taken fixed port into a Problem that names who holds it. A
// port that was ours to choose stays a takenError: there are others.
func (p *Publisher) explain(ctx context.Context, spec Spec, err error) error {
	var taken *takenError
	if !errors.As(err, &taken) || taken.slot == nil || taken.slot.chosen {
		return err
	}
	s := *taken.slot
	why := taken.err
	ip, parseErr := netip.ParseAddr(s.HostIP)
	if parseErr == nil {
		// Not knowing the holder does not change what is wrong.
		if holder, holderErr := p.holder(ctx, ip, s); holderErr == nil && holder != "" {
			name := ContainerName(spec.Cluster, spec.Project)
			if strings.Contains(holder, strconv.Quote(name)) || strings.Contains(holder, strconv.Quote(name+nextSuffix)) {
				return &takenError{err: why, other: true} // another berth has just published it
			}
			why = fmt.Errorf("%s holds it", holder)
		}
	}
	return problem.New(fmt.Sprintf("publish %s for service %q", s.listener(), s.Service), why,
		"end what holds the port, or publish another one in the compose file (a port without a host port gets a free one)")
}

func (p *Publisher) holder(ctx context.Context, ip netip.Addr, s slot) (string, error) {
	if s.Protocol == "udp" {
		return p.engine.UDPPortHolder(ctx, ip, s.HostPort)
	}
	return p.engine.PortHolder(ctx, ip, s.HostPort)
}
