package devloop

import (
	"strings"
	"testing"
)

func (w *world) setDown(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = node
}

func TestNodeThatDoesNotAnswerHoldsNobodyUpAndIsCaughtUpWith(t *testing.T) {
	s := startSyncing(t, "sync+restart")
	others := func(content string) func() bool { // the pods are on a node each
		return func() bool {
			n := 0
			for _, p := range s.services["web"].pods {
				if p.node != "node-2" && p.files["/srv/a.js"] == content && p.restarts > 0 {
					n++
				}
			}
			return n == 2
		}
	}
	s.setDown("node-2")
	for i, content := range []string{"2", "3", "4"} {
		s.write("src/a.js", content)
		s.until("the others have "+content, others(content))
		if e := s.kind(i+1, EventServing, "web"); e.Replicas != 2 || e.Action != "sync+restart" {
			t.Errorf("event %+v", e)
		}
	}
	s.setDown("")
	s.holds("web", "/srv/a.js", "4")
	s.until("its program has started again, too", func() bool {
		for _, p := range s.services["web"].pods {
			if p.restarts == 0 {
				return false
			}
		}
		return true
	})
	text := s.eventText()
	for _, once := range []string{`does not answer: what runs there`, `answers again`} {
		if strings.Count(text, once) != 1 {
			t.Errorf("%q is not said once:\n%s", once, text)
		}
	}
	if strings.Contains(text, `"failed"`) {
		t.Errorf("events:\n%s", text)
	}
}

func TestChangeThatReachesNoReplicaIsNotSaidToServe(t *testing.T) {
	s := newSession(t, map[string]string{"src/a": "1"})
	s.set(s.restarting(1))
	s.dev(DevOptions{})
	s.up()
	s.mu.Lock()
	node := s.services["web"].pods[0].node
	s.mu.Unlock()
	s.setDown(node)
	s.write("src/a", "2")
	if e := s.kind(1, EventHold, "web"); !strings.Contains(e.Why, "do not answer") {
		t.Errorf("event %+v", e)
	}
	s.setDown("")
	s.holds("web", "/src/a", "2")
	s.kind(1, EventServing, "web")
}

// A node that comes while the loop runs, or that has removed an image, gets it when
// a pod there waits for it: once, and without a new build.
func TestImageThatANodeLacksIsLoaded(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.set(svc{Name: "web", Build: s.buildOf("web")}, svc{Name: "db", Image: "postgres"})
	s.dev(DevOptions{})
	s.up()
	s.mu.Lock()
	image := s.services["web"].pods[0].image
	s.nodes["node-4"] = map[string]bool{}
	s.services["web"].pods[0].node, s.services["web"].pods[0].reason = "node-4", "ErrImagePull"
	s.notify()
	s.mu.Unlock()
	s.until("the new node has the image", func() bool { return s.nodes["node-4"][image] })
	if e := s.kind(1, EventServing, "web"); e.Cause != `node "node-4" lacks its image` {
		t.Errorf("event %+v", e)
	}
	s.mu.Lock()
	s.services["web"].pods[0].reason = "ImagePullBackOff" // it will be tried again
	s.notify()
	s.mu.Unlock()
	s.write("web/main.go", "v2") // the loop has looked at it by the time that this serves
	s.kind(2, EventServing, "web")
	if b, l := s.logged("build p-web"), s.logged("load p-web"); b != 2 || l != 3 {
		t.Errorf("%d builds, %d loads for the start, a new node and an edit", b, l)
	}
}
