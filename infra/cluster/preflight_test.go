package cluster

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

func TestPortsFallBackAloudAndNeverBehindTheUsersBack(t *testing.T) {
	for name, tc := range map[string]struct {
		spec        Spec
		host        docker.Host
		taken       map[int]string
		http, https int
		warnings    int
		err         string
	}{
		"free":                 {http: 80, https: 443},
		"taken":                {taken: map[int]string{80: `container "web"`}, http: 8080, https: 443, warnings: 1},
		"fallback taken too":   {taken: map[int]string{80: "x", 8080: "y", 443: "z"}, http: 8081, https: 8443, warnings: 2},
		"rootless":             {host: docker.Host{Rootless: true}, http: 8080, https: 8443, warnings: 2},
		"asked for, free":      {spec: Spec{HTTPPort: 8480, HTTPSPort: 8443}, http: 8480, https: 8443},
		"asked for, but taken": {spec: Spec{HTTPPort: 8480}, taken: map[int]string{8480: "nginx (pid 12)"}, err: "127.0.0.1:8480: the port is taken by nginx (pid 12)"},
	} {
		t.Run(name, func(t *testing.T) {
			warnings := 0
			sink := progress.SinkFunc(func(e progress.Event) {
				if e.State == progress.Warn {
					warnings++
				}
			})
			holder := func(_ context.Context, port int) (string, error) { return tc.taken[port], nil }
			got, err := settlePorts(t.Context(), tc.spec, tc.host, holder, sink)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				if !strings.Contains(problem.Hint(err), "--http-port") {
					t.Errorf("hint %q", problem.Hint(err))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.HTTPPort != tc.http || got.HTTPSPort != tc.https || warnings != tc.warnings {
				t.Errorf("got %d and %d with %d warnings", got.HTTPPort, got.HTTPSPort, warnings)
			}
		})
	}
}

func TestTooLittleMemoryIsSaidBeforehand(t *testing.T) {
	spec := Spec{Name: "x", ControlPlanes: 1, Workers: new(4)}
	for name, tc := range map[string]struct {
		host docker.Host
		want string // in the error; "" for none
		hint string
	}{
		"plenty":                 {docker.Host{Memory: 8 << 30}, "", ""},
		"unknown":                {docker.Host{}, "", ""},
		"a small machine":        {docker.Host{Memory: 1500 << 20}, "the engine has 1500 MiB", "--workers 2"},
		"a machine that is full": {docker.Host{Memory: 8 << 30, FreeMemory: 1000 << 20}, "there are 1000 MiB", "--workers 0"},
		"far too small":          {docker.Host{Memory: 512 << 20}, "512 MiB", "end other programs"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkMemory(spec, tc.host)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(problem.Hint(err), tc.hint) {
				t.Errorf("error %v, hint %q", err, problem.Hint(err))
			}
		})
	}
}

func TestALowInotifyLimitIsRaisedOrExplained(t *testing.T) {
	spec := Spec{Name: "x", ControlPlanes: 1, Workers: new(2)}
	local := docker.Host{Local: true}
	for name, tc := range map[string]struct {
		limit, running int
		host           docker.Host
		fixed          bool // the limit cannot be changed
		after          string
		say            progress.State
		err            string
	}{
		"high enough":              {limit: 1024, host: local, after: "1024"},
		"low":                      {limit: 128, host: local, after: "512", say: progress.Note},
		"many nodes":               {limit: 512, running: 40, host: local, after: "920", say: progress.Note},
		"low and fixed, but fits":  {limit: 128, host: local, fixed: true, after: "128"},
		"fixed and tight":          {limit: 128, running: 3, host: local, fixed: true, after: "128", say: progress.Warn},
		"fixed and far too low":    {limit: 128, running: 6, host: local, fixed: true, after: "128", err: "9 nodes need about 240 inotify instances and the kernel allows 128"},
		"an engine somewhere else": {limit: 128, after: "128"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strconv.Itoa(tc.limit)
			kernel := limit{
				read: func() ([]byte, error) { return []byte(text + "\n"), nil },
				write: func(number []byte) error {
					if tc.fixed {
						return os.ErrPermission
					}
					text = string(number)
					return nil
				},
			}
			var said progress.State
			err := ensureInotify(kernel, spec, tc.host, tc.running, progress.SinkFunc(func(e progress.Event) { said = e.State }))
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Fatalf("error %v", err)
			}
			if text != tc.after || said != tc.say {
				t.Errorf("limit %s, said %q", text, said)
			}
		})
	}
}
