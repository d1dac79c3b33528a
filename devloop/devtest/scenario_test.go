package devtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/devloop/devtest"
	"github.com/berth-dev/berth/infra/testneed"
)

// A scenario is a project in a folder of its own, which `berth dev` watches.
type scenario struct {
	t        *testing.T
	dir      string
	berth    string
	cluster  string
	replicas int
	dev      *devtest.Dev
	log      testneed.Buffer
}

// within is how long what upstream waits 10 s for may take.
const within = 10 * time.Second

// newScenario writes a project. REPLICAS in compose.yaml becomes the number.
func newScenario(t *testing.T, replicas int, files map[string]string) *scenario {
	t.Helper()
	cluster, _ := testneed.Cluster(t)
	s := &scenario{t: t, cluster: cluster, berth: testneed.Berth(t), replicas: replicas}
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "=", "").Replace(t.Name()))
	s.dir = filepath.Join(t.TempDir(), name)
	for file, content := range files {
		s.write(file, strings.ReplaceAll(content, "REPLICAS", fmt.Sprint(replicas)))
	}
	s.must("down", "--volumes")
	t.Cleanup(func() {
		if s.dev != nil {
			if err := s.dev.Stop(); err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			t.Logf("berth dev said:\n%s", s.log.String())
			if s.dev != nil {
				for _, e := range s.dev.Events(0) {
					t.Logf("%+v", e)
				}
			}
		}
		s.must("down", "--volumes", "--rmi", "local")
	})
	return s
}

// watch starts `berth dev` for some services, or all, and returns when the
// project serves.
func (s *scenario) watch(services ...string) {
	s.t.Helper()
	s.start(services...)
	if err := s.dev.Serving(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scenario) start(services ...string) {
	s.t.Helper()
	args := append([]string{"--cluster", s.cluster, "--progress", "plain", "dev", "--format", "json"}, services...)
	dev, err := devtest.Start(&s.log, s.berth, s.dir, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.dev = dev
}

func (s *scenario) path(name string) string { return filepath.Join(s.dir, name) }

func (s *scenario) write(name, content string) {
	s.t.Helper()
	path := s.path(name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

// do fails the test on the error of a change of files.
func (s *scenario) do(errs ...error) {
	s.t.Helper()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scenario) must(args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.berth, append([]string{"--cluster", s.cluster, "--progress", "plain"}, args...)...)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Errorf("berth %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// outcome is how a command in a container ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// exec runs a command in every replica of a service.
func (s *scenario) exec(service string, command ...string) []outcome {
	s.t.Helper()
	all := make([]outcome, s.replicas)
	for i := range all {
		args := append([]string{"--cluster", s.cluster, "exec", "-T", "--index", fmt.Sprint(i + 1), service}, command...)
		cmd := exec.CommandContext(s.t.Context(), s.berth, args...)
		cmd.Dir = s.dir
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var status *exec.ExitError
		if err != nil && !errors.As(err, &status) {
			s.t.Fatal(err)
		}
		all[i] = outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}
	return all
}

// until runs a command in every replica until all ended as wanted.
func (s *scenario) until(patience time.Duration, what string, ok func(outcome) bool, service string, command ...string) {
	s.t.Helper()
	late := time.Now().Add(patience)
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		outcomes := s.exec(service, command...)
		good := 0
		for _, o := range outcomes {
			if ok(o) {
				good++
			}
		}
		if good == len(outcomes) {
			return
		}
		if time.Now().After(late) {
			s.t.Fatalf("%s: not within %s: %v gave %+v", what, patience, command, outcomes)
		}
	}
}

// holds waits until every replica has a file with this content.
func (s *scenario) holds(service, file, content string) {
	s.t.Helper()
	s.until(within, file+" is "+content, func(o outcome) bool { return o.code == 0 && o.stdout == content }, service, "cat", file)
}

// lacks checks that no replica has a file, at this moment.
func (s *scenario) lacks(service, file string) {
	s.t.Helper()
	for _, o := range s.exec(service, "stat", file) {
		if o.code != 1 || !strings.Contains(o.stderr, "No such file or directory") {
			s.t.Errorf("stat %s: %+v", file, o)
		}
	}
}

// flush returns when all that was done to the files before is in every replica.
func (s *scenario) flush(service, source, target string) {
	s.t.Helper()
	token := fmt.Sprint(rand.Int63()) //nolint:gosec // no secret
	s.write(source, token)
	s.holds(service, target, token)
}

// event waits for the first event from a number on.
func (s *scenario) event(from int, patience time.Duration, what string, match func(devtest.Event) bool) devtest.Event {
	s.t.Helper()
	e, err := s.dev.Await(s.t.Context(), from, patience, match)
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	return e
}

func serving(service, action string) func(devtest.Event) bool {
	return func(e devtest.Event) bool {
		return e.Event == "serving" && e.Service == service && (action == "" || e.Action == action)
	}
}

// forReplicas runs a case with one replica and with three on the nodes. The
// first of them, unless every is long, belongs to each run of the tests.
func forReplicas(t *testing.T, long bool, test func(t *testing.T, replicas int)) {
	t.Helper()
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("replicas=%d", n), func(t *testing.T) {
			if long || n > 1 {
				testneed.Long(t)
			}
			test(t, n)
		})
	}
}
