package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/berth-dev/berth/infra/agent/serve"
)

// dialed starts agents over pipes, and keeps the last one's end of the agent.
type dialed struct {
	agent net.Conn
	times int
	err   error // instead of an agent
}

func (d *dialed) dial(context.Context) (io.ReadWriteCloser, error) {
	d.times++
	if d.err != nil {
		return nil, d.err
	}
	ours, theirs := net.Pipe()
	d.agent = theirs
	go func() {
		defer theirs.Close()
		_ = serve.New().Run(context.Background(), theirs, theirs)
	}()
	return ours, nil
}

func TestConnectOverDialsAgainWhenTheStreamBreaks(t *testing.T) {
	d := &dialed{}
	n, err := ConnectOver(t.Context(), "node", d.dial)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.agent.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Ping(t.Context()); err != nil || d.times != 2 {
		t.Errorf("after %d dials: %v", d.times, err)
	}
}

func TestConnectOverFailsAtOnceWhereNothingEverAnswered(t *testing.T) {
	refused := errors.New("refused")
	d := &dialed{err: refused}
	if _, err := ConnectOver(t.Context(), "node", d.dial); !errors.Is(err, refused) || d.times != 1 {
		t.Errorf("after %d dials: %v", d.times, err)
	}
}
