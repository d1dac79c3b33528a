package examples

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
)

// smokeSteps is how many steps of the workshop a short run plays.
const smokeSteps = 2

// TestWorkshopIsPlayed plays the workshop as a learner who has every step done
// for him: a check fails before the step is solved and passes after, and a reset
// returns to where the check fails.
func TestWorkshopIsPlayed(t *testing.T) {
	t.Run("the first steps", func(t *testing.T) { playWorkshop(t, smokeSteps) })
	t.Run("all steps", func(t *testing.T) {
		testneed.Long(t)
		playWorkshop(t, 10)
	})
}

func playWorkshop(t *testing.T, steps int) {
	cluster, _ := testneed.Cluster(t)
	w := workshopPlayer{t: t, berth: testneed.Berth(t), state: t.TempDir()}
	dir, err := filepath.Abs("kubernetes-from-compose")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // whatever happens: the cluster is shared
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
		defer cancel()
		if out, err := w.command(ctx, "workshop", "stop").CombinedOutput(); err != nil && !strings.Contains(string(out), "no workshop is started") {
			t.Errorf("workshop stop: %v\n%s", err, out)
		}
	})
	w.must("workshop", "start", dir, "--cluster", cluster)
	for i := 1; i <= steps; i++ {
		started := time.Now()
		before, ok := w.run("workshop", "check")
		if ok || !saysWhatIsMissing(before) {
			t.Fatalf("step %d: before it is solved the check passes, or says nothing: %q", i, before)
		}
		w.must("workshop", "solve")
		if out, ok := w.run("workshop", "check"); !ok {
			t.Fatalf("step %d: after solve the check says %s", i, out)
		}
		solved := time.Since(started)
		w.must("workshop", "reset")
		if out, ok := w.run("workshop", "check"); ok || out != before {
			t.Fatalf("step %d: after a reset the check says %q, and before the step was solved %q", i, out, before)
		}
		if i < steps {
			if out, ok := w.run("workshop", "next"); ok {
				t.Fatalf("step %d: next goes on although the check fails: %s", i, out)
			}
			w.must("workshop", "next", "--solve")
		}
		t.Logf("step %d: check, solve, check in %s, with reset and next %s", i, solved.Round(time.Second), time.Since(started).Round(time.Second))
	}
	var status []struct {
		Step, Done, Steps int
	}
	if err := json.Unmarshal([]byte(w.must("workshop", "status", "--format", "json")), &status); err != nil {
		t.Fatal(err)
	}
	if len(status) != 1 || status[0].Step != steps || status[0].Done != steps-1 {
		t.Errorf("status %+v after %d steps, the last of them reset", status, steps)
	}
}

// saysWhatIsMissing reports whether a check that did not pass has told the
// learner more than that.
func saysWhatIsMissing(out string) bool {
	verdict, why, _ := strings.Cut(out, "\n")
	return verdict == "✘ not yet" && strings.TrimSpace(why) != ""
}

// A workshopPlayer runs berth with a state folder of its own.
type workshopPlayer struct {
	t            *testing.T
	berth, state string
}

func (w workshopPlayer) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.berth, append([]string{"--progress", "plain"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+w.state, "GUESTBOOK_PORT=18788")
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run returns what berth printed and whether it ended well.
func (w workshopPlayer) run(args ...string) (string, bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Minute)
	defer cancel()
	out, err := w.command(ctx, args...).Output()
	return string(out), err == nil
}

func (w workshopPlayer) must(args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Minute)
	defer cancel()
	var stderr strings.Builder
	cmd := w.command(ctx, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("berth %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}
