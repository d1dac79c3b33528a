package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/model"
)

// noon is when the tests below look.
func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func code(n int32) *int32 { return &n }

func TestStatusReadsLikeDockers(t *testing.T) {
	since := func(d time.Duration) time.Time { return noon().Add(-d) }
	for _, c := range []struct {
		pod  model.PodState
		want string
	}{
		{model.PodState{Phase: "Running", Since: since(5 * time.Minute), Health: "healthy"}, "Up 5 minutes (healthy)"},
		{model.PodState{Phase: "Running", Since: since(time.Second)}, "Up 1 second"},
		{model.PodState{Phase: "Running", Since: since(25 * time.Hour)}, "Up 1 day"},
		{model.PodState{Phase: "Running", Reason: "CrashLoopBackOff", Since: since(3 * time.Second), ExitCode: code(1)}, "Restarting (1) 3 seconds ago"},
		{model.PodState{Phase: "Succeeded", Since: since(2 * time.Hour), ExitCode: code(0)}, "Exited (0) 2 hours ago"},
		{model.PodState{Phase: "Failed", ExitCode: code(137)}, "Exited (137)"},
		{model.PodState{Phase: "Pending", Reason: "ImagePullBackOff"}, "Starting: ImagePullBackOff"},
		{model.PodState{Phase: "Terminating"}, "Removing"},
	} {
		if got := statusOf(c.pod, noon()); got != c.want {
			t.Errorf("%+v: %q, want %q", c.pod, got, c.want)
		}
	}
}

func TestPsPrints(t *testing.T) {
	services := []model.ServiceState{
		{Service: "db", Kind: "StatefulSet", Name: "db", Desired: 1, Pods: []model.PodState{{Name: "db-0", Phase: "Running", Node: "w2", Image: "postgres:17", Restarts: 2, Since: noon().Add(-time.Hour)}}},
		{Service: "gone", Kind: "Deployment", Name: "gone"},
		{Service: "migrate", Kind: "Job", Name: "migrate", Desired: 1, Complete: true, Pods: []model.PodState{{Name: "migrate-x", Phase: "Succeeded", ExitCode: code(0)}}},
		{Service: "new", Kind: "Deployment", Name: "new", Created: true},
		{Service: "seed", Kind: "Deployment", Name: "seed", Complete: true},
		{Service: "web", Kind: "Deployment", Name: "web", Desired: 1, Pods: []model.PodState{{Name: "web-x", Phase: "Running", Node: "w1", Image: "web:1", Health: "starting"}}},
	}
	ports := []model.PublishedPort{{Service: "web", HostPort: 8080, Target: 80, Protocol: "tcp"}}
	for _, c := range []struct {
		options psOptions
		want    string
	}{
		{psOptions{}, `NAME    SERVICE   STATUS          RESTARTS   NODE   PORTS                    IMAGE
db-0    db        Up 1 hour       2          w2                              postgres:17
web-x   web       Up (starting)   0          w1     127.0.0.1:8080->80/tcp   web:1
`},
		{psOptions{quiet: true}, "db-0\nweb-x\n"},
		{psOptions{services: true, all: true}, "db\ngone\nmigrate\nnew\nseed\nweb\n"},
		{psOptions{status: []string{stateExited}, quiet: true}, "migrate-x\nseed\n"},
		{psOptions{status: []string{stateStopped}, services: true}, "gone\n"},
		{psOptions{status: []string{stateCreated}, services: true}, "new\n"},
		{psOptions{format: "json", status: []string{stateRunning}}, `{"Name":"db-0","Service":"db","Project":"demo","State":"running","Health":"","ExitCode":0,"Restarts":2,"Node":"w2","Image":"postgres:17","CreatedAt":"0001-01-01T00:00:00Z","Publishers":[]}
{"Name":"web-x","Service":"web","Project":"demo","State":"running","Health":"starting","ExitCode":0,"Restarts":0,"Node":"w1","Image":"web:1","CreatedAt":"0001-01-01T00:00:00Z","Publishers":[{"URL":"127.0.0.1","TargetPort":80,"PublishedPort":8080,"Protocol":"tcp"}]}
`},
	} {
		var out bytes.Buffer
		if err := c.options.print(&out, psRows("demo", services, ports, noon())); err != nil || out.String() != c.want {
			t.Errorf("%+v: %v\n%s\nwant\n%s", c.options, err, out.String(), c.want)
		}
	}
}

func TestPodIsChosen(t *testing.T) {
	pods := []model.PodState{
		{Name: "a", Phase: "Terminating"}, {Name: "b", Phase: "Running", Reason: "CrashLoopBackOff"},
		{Name: "c", Phase: "Running"}, {Name: "d", Phase: "Running", Ready: true},
	}
	r := &running{name: "demo", states: []model.ServiceState{{Service: "web", Pods: pods}, {Service: "none"}, {Service: "bad", Pods: pods[:2]}}}
	for _, c := range []struct {
		service string
		index   int
		want    string // pod, or part of the error
	}{
		{"web", 0, "d"}, {"web", 1, "c"}, {"web", 2, "d"}, {"web", 3, `service "web" has no pod 3: 2 run`}, {"web", -1, "has no pod -1"},
		{"none", 0, `service "none" does not run: it has no pods`}, {"bad", 0, "restarting: CrashLoopBackOff"}, {"nosuch", 0, `service "nosuch" is not in the cluster`},
	} {
		pod, err := r.pod(c.service, c.index)
		if err == nil && pod.Name != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %d: %q, %v; want %q", c.service, c.index, pod.Name, err, c.want)
		}
	}
}

func TestServicesThatCannotBeRemovedAlone(t *testing.T) {
	r := &running{name: "demo", states: []model.ServiceState{
		{Service: "app", Kind: "Deployment", Name: "app"}, {Service: "proxy", Kind: "Deployment", Name: "app"}, {Service: "db", Kind: "StatefulSet", Name: "app"},
	}}
	for _, c := range []struct {
		services string
		volumes  bool
		want     string // part of the error
	}{
		{"db", true, ""}, {"gone", false, ""}, {"app proxy", false, ""},
		{"db proxy", false, `remove service "proxy" alone: it shares its pods with "app"`}, {"gone", true, `remove the volumes of service "gone"`},
	} {
		err := r.removable(strings.Fields(c.services), c.volumes)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.services, err, c.want)
		}
	}
}

func TestTimesAreRead(t *testing.T) {
	for s, want := range map[string]time.Time{
		"":                     {},
		"90s":                  noon().Add(-90 * time.Second),
		"2026-01-02T13:23:37Z": time.Date(2026, 1, 2, 13, 23, 37, 0, time.UTC),
		"2026-01-02":           time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		"1136073600.5":         time.Unix(1136073600, 5e8),
	} {
		if got, err := parseTime("--since", s, noon()); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func TestForwardsAreRead(t *testing.T) {
	got, err := parseForwards([]string{"80", "8080:80", ":5432"})
	if err != nil || got[0] != (forward{80, 80}) || got[1] != (forward{8080, 80}) || got[2] != (forward{0, 5432}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "0", "a:80", "80:", "70000", "80:0"} {
		if _, err := parseForwards([]string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestExecCommandWithDirectoryAndVariables(t *testing.T) {
	got := execOptions{env: []string{"A=1", "B="}, workdir: "/srv"}.command([]string{"ls", "-l"})
	want := `sh|-c|cd "$1" && shift && exec "$@"|sh|/srv|env|A=1|B=|ls|-l`
	if strings.Join(got, "|") != want {
		t.Errorf("%q", strings.Join(got, "|"))
	}
	if got := (execOptions{}).command([]string{"ls"}); strings.Join(got, "|") != "ls" {
		t.Errorf("%q", got)
	}
}

func TestEventsBelongToTheLongestName(t *testing.T) {
	p := &eventPrinter{running: &running{states: []model.ServiceState{{Service: "web", Name: "web"}, {Service: "web-admin", Name: "web-admin"}}}}
	for object, want := range map[string]string{"web": "web", "web-7d9f-x": "web", "web-admin-5c-y": "web-admin", "webby": "", "kube-root-ca.crt": ""} {
		if got := p.serviceOf(object); got != want {
			t.Errorf("%s belongs to %q, want %q", object, got, want)
		}
	}
}
