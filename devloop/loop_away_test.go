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
