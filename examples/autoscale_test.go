package examples

import (
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
)

// TestAutoscaler lets pods use more than their share, on a cluster whose first
// autoscaler this may be.
func TestAutoscaler(t *testing.T) {
	testneed.Long(t)
	p := newProbeProject(t, "behave-autoscale", `
name: behave-autoscale
services:
  busy: {image: berth.test/probe, command: [burn], cpus: 0.1, x-berth: {autoscale: {max: 3, cpu: 50}}}
`)
	p.must("up")
	p.eventually(4*time.Minute, "three pods", func() error { return p.ready("busy", 3) })
	p.must("up")
	if err := p.ready("busy", 3); err != nil {
		t.Errorf("a second up counts the pods again: %v", err)
	}
}
