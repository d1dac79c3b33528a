package devloop

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/problem"
)

// An image that is known already is asked for its users when the first service
// names one.
func TestUserThatIsNamedWhileTheLoopRunsTakesEffect(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.set(svc{Name: "web", Build: s.buildOf("web")}, svc{Name: "db", Image: "postgres"})
	s.dev(DevOptions{})
	s.up()
	s.set(svc{Name: "web", Build: s.buildOf("web"), User: "alice"}, svc{Name: "db", Image: "postgres", User: "alice"})
	s.write("compose.yaml", "2")
	s.until("both run as alice", func() bool { return s.services["web"].user == 1234 && s.services["db"].user == 1234 })
	s.kind(2, EventServing, "")
	s.set(svc{Name: "web", Build: s.buildOf("web"), User: "alice"}, svc{Name: "db", Image: "postgres"})
	s.write("compose.yaml", "3")
	s.kind(3, EventServing, "")
	if b, p := s.logged("build p-web"), s.logged("pull postgres"); b != 2 || p != 2 {
		t.Errorf("%d builds, %d pulls for the start and one change of users", b, p)
	}
}

// What only the image tells may show that what would run is not what the user
// has: then the service is not started, and the others are.
func TestUserThatTheImageLacksIsAFailureOfItsService(t *testing.T) {
	w := newWorld(t)
	_, err := New(w.deps(project("p", svc{Name: "web", Image: "w", User: "bob"}, svc{Name: "db", Image: "d"}))).Up(t.Context(), UpOptions{})
	if err == nil || !strings.Contains(err.Error(), `services.web.user: the image has no user "bob"`) || problem.Hint(err) != "known: alice" {
		t.Errorf("error %v, hint %q", err, problem.Hint(err))
	}
	if w.services["web"] != nil || w.services["db"] == nil {
		t.Errorf("on the cluster: %v", w.services)
	}

	s := newSession(t, nil)
	s.set(svc{Name: "web", Image: "w"}, svc{Name: "db", Image: "d"})
	s.dev(DevOptions{})
	s.up()
	s.set(svc{Name: "web", Image: "w", User: "bob"}, svc{Name: "db", Image: "d"})
	s.write("compose.yaml", "2")
	if e := s.kind(1, EventFailed, "web"); e.Why != "" || !strings.Contains(e.Error.Error(), `no user "bob"`) {
		t.Errorf("event %+v", e)
	}
	s.set(svc{Name: "web", Image: "w", User: "alice"}, svc{Name: "db", Image: "d"})
	s.write("compose.yaml", "3")
	s.until("web runs as alice", func() bool { return s.services["web"].user == 1234 })
}
