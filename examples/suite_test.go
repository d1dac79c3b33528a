package examples

import (
	"archive/tar"
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// hostPort is the port of this machine that stands for a port of a test's
// compose file: the same, or with BERTH_TEST_PORTS=N one of the hundred from N,
// so that several runs can share a machine.
func hostPort(port int) string {
	base, err := strconv.Atoi(os.Getenv("BERTH_TEST_PORTS"))
	if err != nil {
		return strconv.Itoa(port)
	}
	return strconv.Itoa(base + port%100)
}

// movePorts makes a compose file publish what hostPort says.
func (p *project) movePorts(file string, ports ...int) {
	p.t.Helper()
	path := filepath.Join(p.dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, port := range ports {
		old := strconv.Itoa(port)
		text = regexp.MustCompile(`\b`+old+`:(\d)`).ReplaceAll(text, []byte(hostPort(port)+":$1"))
		text = regexp.MustCompile(`(published:\s*"?)`+old+`\b`).ReplaceAll(text, []byte("${1}"+hostPort(port)))
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) write(file, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, file)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		p.t.Fatal(err)
	}
}

// takeDown removes what an aborted run may have left, now and when the test ends.
func (p *project) takeDown() {
	p.t.Helper()
	down := []string{"--project-name", p.name, "down", "--volumes", "--rmi", "local"}
	p.must(down...)
	p.t.Cleanup(func() {
		if p.t.Failed() {
			p.diagnose()
		}
		p.must(down...)
	})
}

// udpIsFree checks that nothing listens on a UDP port of this machine.
func (p *project) udpIsFree(port string) {
	p.t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:"+port)
	if err != nil {
		p.t.Errorf("UDP port %s is still taken: %v", port, err)
		return
	}
	conn.Close()
}

// importProgram makes the engine hold an image of nothing but a program of
// ours, statically linked: no shell, no /etc/passwd, no folders.
func importProgram(t *testing.T, source, image string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", program, "./"+source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	importRoot(t, image, map[string]string{"program": program}, `ENTRYPOINT ["/program"]`)
}

// importRoot makes the engine hold an image of the given files, executable, by
// their names in it, changed as a Dockerfile would with the given lines.
func importRoot(t *testing.T, image string, files map[string]string, changes ...string) {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, file := range files {
		content, err := os.ReadFile(file)
		if err == nil {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(content))})
		}
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	args := []string{"import"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	cmd := exec.CommandContext(t.Context(), "docker", append(args, "-", image)...)
	cmd.Stdin = &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker import %s: %v\n%s", image, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("docker", "rmi", image).CombinedOutput(); err != nil {
			t.Errorf("docker rmi %s: %v\n%s", image, err, out)
		}
	})
}
