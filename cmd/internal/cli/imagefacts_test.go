package cli_test

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/cmd/internal/cli"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/testneed"
)

// With --inspect-images, what an image declares counts: its user's number, its
// ports, its health check. Images that the engine lacks are left alone.
func TestTranslateInspectsImagesWhenAsked(t *testing.T) {
	testneed.Docker(t)
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const ref = "berth.test/inspect:1"
	var rootfs bytes.Buffer
	w := tar.NewWriter(&rootfs)
	passwd := "root:x:0:0::/root:/bin/sh\nalice:x:1234:567::/:/bin/sh\n"
	for _, err := range []error{
		w.WriteHeader(&tar.Header{Name: "etc/passwd", Mode: 0o644, Size: int64(len(passwd))}),
		second(w.Write([]byte(passwd))),
		w.Close(),
		engine.ImportRootfs(t.Context(), &rootfs, ref, []string{"USER alice", "EXPOSE 4321", `CMD ["serve"]`}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := engine.RemoveImage(context.WithoutCancel(t.Context()), ref); err != nil {
			t.Error(err)
		}
		engine.Close()
	})
	dir := t.TempDir()
	text := "name: inspect\nservices:\n  known: {image: \"" + ref + "\", user: alice, expose: [80]}\n  unknown: {image: \"berth.test/nowhere:1\"}\n"
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		var out, errs bytes.Buffer
		streams := cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Env: os.Environ(), Dir: dir}
		if code := cli.Main(t.Context(), streams, args); code != 0 {
			t.Fatalf("exit %d: %s", code, errs.String())
		}
		return out.String()
	}
	plain, inspected := run("translate"), run("translate", "--inspect-images")
	for _, fact := range []string{"runAsUser: 1234", "runAsGroup: 567", "port: 4321"} {
		if strings.Contains(plain, fact) || !strings.Contains(inspected, fact) {
			t.Errorf("%q is not what inspecting adds:\n%s", fact, inspected)
		}
	}
}

func second(_ int, err error) error { return err }
