package devtest_test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestOnceRunsACommandAndPassesItsStatusOn(t *testing.T) {
	s := newScenario(t, 1, map[string]string{"compose.yaml": `
services:
  app: {image: busybox, init: true, command: sleep infinity}
`})
	cmd := exec.CommandContext(t.Context(), s.berth, "--cluster", s.cluster, "--progress", "plain", "dev", "--once",
		"--exec", s.berth+" --cluster "+s.cluster+" exec -T app echo from inside; exit 7", "--down")
	cmd.Dir = s.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var status *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &status) || status.ExitCode() != 7 || stdout.String() != "from inside\n" {
		t.Errorf("%v, stdout %q\n%s", err, stdout.String(), stderr.String())
	}
	out, err := exec.CommandContext(t.Context(), s.berth, "--cluster", s.cluster, "ls").CombinedOutput()
	if err != nil || strings.Contains(string(out), "testonce") {
		t.Errorf("the project is still there: %v\n%s", err, out)
	}
}
