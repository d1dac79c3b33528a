package docker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/problem"
)

func TestNoEngineSaysWhatHelps(t *testing.T) {
	for _, c := range []struct{ host, err, want, hint string }{
		{"unix:///run/d.sock", "is it running?", "connect to the Docker Engine at unix:///run/d.sock: is it running?", "start Docker"},
		{"unix:///run/d.sock", "permission denied while trying to connect to the socket", "connect to the Docker Engine at unix:///run/d.sock: permission denied", "usermod -aG docker"},
		{commandHost, "exit status 255", "connect to the Docker Engine through ssh: exit status 255", "ssh reaches the machine"},
	} {
		err := noEngine(c.host, errors.New(c.err))
		if err.Error() != c.want || !strings.Contains(problem.Hint(err), c.hint) {
			t.Errorf("%v, hint %q", err, problem.Hint(err))
		}
	}
}

func TestSSHIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte("#!/bin/sh\necho no route >&2; exit 255\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("DOCKER_HOST", "ssh://me@nowhere.test")
	_, err := New(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "connect to the Docker Engine through ssh: ") {
		t.Errorf("%v", err)
	}
}
