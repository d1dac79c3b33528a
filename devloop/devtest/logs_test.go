package devtest_test

import (
	"testing"

	"github.com/berth-dev/berth/devloop/devtest"
)

func TestLogsCarryTheNameOfTheirService(t *testing.T) {
	s := newScenario(t, 1, map[string]string{"compose.yaml": `
services:
  app: {image: busybox, init: true, command: sh -c "echo from app; sleep infinity"}
  mate: {image: busybox, init: true, network_mode: "service:app", command: sh -c "echo from mate; sleep infinity"}
`})
	s.watch()
	for _, service := range []string{"app", "mate"} {
		line := "from " + service
		e := s.event(0, within, line, func(e devtest.Event) bool { return e.Event == "log" && e.Line == line })
		if e.Service != service {
			t.Errorf("%q came as a line of %q", line, e.Service)
		}
	}
}

func TestLogsFollowThoughTheFirstTurnFails(t *testing.T) {
	s := newScenario(t, 1, map[string]string{"compose.yaml": `
services:
  app: {image: busybox, init: true, command: sh -c "echo from app; sleep infinity"}
  broken: {build: {dockerfile_inline: "FROM busybox\nRUN false\n"}}
`})
	s.start()
	s.event(0, healed, "the failure", func(e devtest.Event) bool { return e.Event == "failed" && e.Service == "broken" })
	s.event(0, healed, "the log of the other", func(e devtest.Event) bool { return e.Event == "log" && e.Line == "from app" })
}
