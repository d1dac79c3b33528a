package offline

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestLeftoversOfKilledDaemonsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	d := daemon{
		socket: filepath.Join(dir, "docker.sock"), pidFile: filepath.Join(dir, "docker.pid"), execRoot: filepath.Join(dir, "exec"),
	}
	containerd := filepath.Join(d.execRoot, "containerd")
	if err := os.MkdirAll(containerd, 0o755); err != nil {
		t.Fatal(err)
	}
	// The number is in use by now, but not by a daemon: it is this test's.
	mine := []byte(fmt.Sprint(os.Getpid()))
	leftovers := []string{
		d.socket, d.pidFile, filepath.Join(containerd, "containerd.pid"), filepath.Join(containerd, "containerd.sock"),
		filepath.Join(containerd, "containerd.sock.ttrpc"),
	}
	for _, f := range leftovers {
		if err := os.WriteFile(f, mine, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept := filepath.Join(containerd, "containerd.toml")
	if err := os.WriteFile(kept, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // nothing to remove is no error
		if err := d.clearStale(); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range leftovers {
		if _, err := os.Stat(f); err == nil {
			t.Errorf("%s is still there", f)
		}
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

func TestConfigurationThatExistsIsLeftAlone(t *testing.T) {
	d := daemon{configFile: filepath.Join(t.TempDir(), "etc", "daemon.json")}
	if err := d.configure(); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(d.configFile); err != nil || len(raw) == 0 {
		t.Fatalf("no configuration was written: %v", err)
	}
	if err := os.WriteFile(d.configFile, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.configure(); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(d.configFile); err != nil || string(raw) != "{}" {
		t.Errorf("the user's configuration became %q (%v)", raw, err)
	}
}

func TestOSReleaseIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "os-release")
	if err := os.WriteFile(path, []byte("ID=debian\nVERSION_CODENAME=\"bookworm\"\nNAME='x'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := readOSRelease(path)
	if want := (osRelease{"debian", "bookworm"}); err != nil || got != want {
		t.Errorf("read %+v (%v), want %+v", got, err, want)
	}
}
