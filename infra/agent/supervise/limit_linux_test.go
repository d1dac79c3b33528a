package supervise

import (
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestALimitIsNameSoftAndHard(t *testing.T) {
	for text, want := range map[string]Limit{
		"nofile=1024:2048": {Name: "nofile", Soft: 1024, Hard: 2048}, "memlock=-1:-1": {Name: "memlock", Soft: -1, Hard: -1}, "core=0:0": {Name: "core"},
	} {
		if got, err := ParseLimit(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "nofile", "nofile=1", "nofile=1:", "nofile=a:1", "nofile=-2:1", "files=1:1"} {
		if got, err := ParseLimit(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// With Once the supervisor is a plain init: it ends with its program, and with
// the program's status, also when that cannot be started.
func TestOnceEndsWithTheProgram(t *testing.T) {
	for command, status := range map[string]int{"exit 7": 7, "sleep 1000 & exit 0": 0, "kill -9 $$": 137} {
		run(t, testOptions{Command: shell(command), Restart: "always", Once: true}).exits(status)
	}
	c := run(t, testOptions{Command: []string{"/no/such/program"}, Once: true})
	c.exits(127)
	c.shows("cannot start: ")
	c = run(t, testOptions{Command: shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done"), Once: true})
	c.shows("up")
	c.signal(syscall.SIGTERM)
	c.exits(5)
}

func TestTheProgramHasItsLimits(t *testing.T) {
	c := run(t, testOptions{Command: shell("ulimit -Sn; ulimit -Hn; ulimit -c"), Once: true, Limits: []Limit{{Name: "nofile", Soft: 100, Hard: 200}, {Name: "core"}}})
	c.exits(0)
	if got := strings.Fields(c.output()); !slices.Equal(got, []string{"100", "200", "0"}) {
		t.Errorf("the limits are %v", got)
	}
}
