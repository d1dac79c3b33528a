package image

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// needShell skips where the engine holds no image to run commands in.
func needShell(t *testing.T, engine *docker.Client) string {
	t.Helper()
	const image = "busybox"
	_, found, err := engine.InspectImage(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		if strings.Contains(os.Getenv("BERTH_REQUIRE"), "docker") {
			t.Fatalf("BERTH_REQUIRE asks for docker: the engine has no image %q; `berth offline build` makes one", image)
		}
		t.Skipf("needs the image %q in the engine", image)
	}
	return image
}

// sshAgent listens where an ssh agent would. Builds in this test only look
// whether the socket is there.
func sshAgent(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return path
}

func sshKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEveryBuildAttributeReachesTheBuild looks at what a command in the build
// sees of each attribute of the compose file's build section.
func TestEveryBuildAttributeReachesTheBuild(t *testing.T) {
	engine, images, project := onEngine(t)
	base := needShell(t, engine)
	agent := sshAgent(t)
	images.getenv = func(name string) string {
		return map[string]string{"SSH_AUTH_SOCK": agent}[name]
	}
	secret := filepath.Join(tree(t, map[string]string{"secret": "from a file"}), "secret")
	tests := []struct {
		name string
		run  string // its output is /out of the image
		spec model.BuildSpec
		want string // part of it
		not  string
	}{
		{name: "secret of a file", run: "--mount=type=secret,id=token cat /run/secrets/token", want: "from a file",
			spec: model.BuildSpec{Secrets: []model.BuildSecret{{ID: "token", File: secret}}}},
		{name: "secret of the environment", run: "--mount=type=secret,id=token cat /run/secrets/token", want: "from the environment",
			spec: model.BuildSpec{Secrets: []model.BuildSecret{{ID: "token", Value: "from the environment"}}}},
		{name: "ssh agent", run: `--mount=type=ssh test -S "$SSH_AUTH_SOCK" && echo socket`, want: "socket",
			spec: model.BuildSpec{SSH: []model.BuildSSH{{ID: "default"}}}},
		{name: "ssh key", run: `--mount=type=ssh,id=deploy test -S "$SSH_AUTH_SOCK" && echo socket`, want: "socket",
			spec: model.BuildSpec{SSH: []model.BuildSSH{{ID: "deploy", Path: sshKey(t)}}}},
		{name: "network none", run: "cat /proc/net/dev", want: "lo:", not: "eth0", spec: model.BuildSpec{Network: "none"}},
		{name: "extra_hosts", run: "cat /etc/hosts", want: "10.1.2.3\tdb", spec: model.BuildSpec{ExtraHosts: []string{"db:10.1.2.3"}}},
		{name: "extra_hosts of IPv6", run: "cat /etc/hosts", want: "fd00::1\tdb", spec: model.BuildSpec{ExtraHosts: []string{"db=[fd00::1]"}}},
		{name: "shm_size", run: "grep /dev/shm /proc/mounts", want: "size=8192k", spec: model.BuildSpec{ShmSize: 8 << 20}},
		{name: "ulimits", run: "sh -c 'ulimit -n'", want: "1234", spec: model.BuildSpec{Ulimits: []string{"nofile=1234:2345"}}},
		{name: "args", run: `sh -c 'echo "$WHO $EMPTY."'`, want: "you .", spec: model.BuildSpec{Args: map[string]string{"WHO": "you", "EMPTY": ""}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := tt.spec
			options, command := "", tt.run
			if strings.HasPrefix(command, "--mount") {
				options, command, _ = strings.Cut(command, " ")
			}
			spec.DockerfileInline = fmt.Sprintf("FROM %s\nARG WHO\nARG EMPTY=full\nRUN %s (%s) > /out\n", base, options, command)
			spec.Name, spec.Project, spec.Context = "berth.test/"+project+":dev", project, t.TempDir()
			spec.NoCache = true
			facts, err := images.Build(t.Context(), spec, progress.Discard)
			if err != nil {
				t.Fatal(err)
			}
			out, err := engine.ReadImageFile(t.Context(), facts.ID, "/out")
			if err != nil || !strings.Contains(string(out), tt.want) || tt.not != "" && strings.Contains(string(out), tt.not) {
				t.Errorf("the command wrote %q (%v), want %q", out, err, tt.want)
			}
			if facts.Labels[model.LabelStandIn] == "true" {
				t.Error("the image passes for a stand-in of the offline kit")
			}
		})
	}
}

func TestHostNetworkOfABuild(t *testing.T) {
	engine, images, project := onEngine(t)
	base := needShell(t, engine)
	if !engine.Local() {
		t.Skip("needs an engine on this machine")
	}
	spec := model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: t.TempDir(), Network: "host", NoCache: true,
		DockerfileInline: "FROM " + base + "\nRUN cat /proc/net/dev > /out\n"}
	facts, err := images.Build(t.Context(), spec, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	out, err := engine.ReadImageFile(t.Context(), facts.ID, "/out")
	if err != nil {
		t.Fatal(err)
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, i := range interfaces {
		if strings.Contains(string(out), i.Name+":") {
			seen++
		}
	}
	if seen < 2 {
		t.Errorf("the build does not see the interfaces of this machine:\n%s", out)
	}
	spec.Network = "web"
	if _, err := images.Build(t.Context(), spec, progress.Discard); err == nil || !strings.Contains(err.Error(), "build.network \"web\"") {
		t.Errorf("a network of the project: %v", err)
	}
}

// tarOf packs files.
func tarOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// unpack writes what the engine saves of an image into a folder: an OCI layout.
func unpack(t *testing.T, engine *docker.Client, ref string) string {
	t.Helper()
	stream, err := engine.SaveImages(t.Context(), []string{ref}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	dir := t.TempDir()
	for tr := tar.NewReader(stream); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, h.Name, string(data))
	}
}

// gitServer serves a repository whose branch next has a build context in its folder
// app, and returns its URL.
func gitServer(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	git := func(dir string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=berth", "-c", "user.email=berth@example.invalid"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Skipf("needs git: %v\n%s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	work := tree(t, map[string]string{"app/Dockerfile": "FROM scratch\nCOPY data /data\n", "app/data": "of the branch"})
	git(work, "init", "--quiet", "--initial-branch=next")
	git(work, "add", ".")
	git(work, "commit", "--quiet", "--message=context")
	git(root, "clone", "--quiet", "--bare", work, "shop.git")
	backend := &cgi.Handler{
		Path: filepath.Join(git(root, "--exec-path"), "git-http-backend"), Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"},
	}
	server := httptest.NewServer(backend)
	t.Cleanup(server.Close)
	return server.URL + "/shop.git"
}

func TestContextsOfEveryKind(t *testing.T) {
	engine, images, project := onEngine(t)
	if !engine.APIAtLeast(1, 44) {
		t.Skip("needs an engine that saves OCI layouts")
	}
	name := "berth.test/" + project + ":base"
	other, err := images.Build(t.Context(), model.BuildSpec{Name: name, Project: project, Context: tree(t, map[string]string{"data": "of the base"}),
		DockerfileInline: "FROM scratch\nCOPY data /data\n"}, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	layout := unpack(t, engine, name)
	archive := tarOf(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY data /data\n", "data": "of the archive"})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) }))
	t.Cleanup(server.Close)
	from := "FROM scratch\nCOPY --from=other /data /data\n"
	tests := []struct {
		name  string
		local bool // the engine must be on this machine
		spec  model.BuildSpec
		want  string
	}{
		{"an image", false, model.BuildSpec{DockerfileInline: from, AdditionalContexts: map[string]string{"other": imageContext + other.Ref}}, "of the base"},
		{"an OCI layout", false, model.BuildSpec{DockerfileInline: from, AdditionalContexts: map[string]string{"other": "oci-layout://" + layout}}, "of the base"},
		{"an archive of the web", true, model.BuildSpec{Context: server.URL + "/context.tar"}, "of the archive"},
		{"an archive of the web with a Dockerfile of its own", true, model.BuildSpec{
			Context: server.URL + "/context.tar", DockerfileInline: "FROM scratch\nCOPY Dockerfile /data\n",
		}, "FROM scratch\nCOPY data /data\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.local && !engine.Local() {
				t.Skip("needs an engine on this machine")
			}
			spec := tt.spec
			spec.Name, spec.Project = "berth.test/"+project+":dev", project
			if spec.Context == "" {
				spec.Context = t.TempDir()
			}
			facts, err := images.Build(t.Context(), spec, progress.Discard)
			if err != nil {
				t.Fatal(err)
			}
			got, err := engine.ReadImageFile(t.Context(), facts.ID, "/data")
			if err != nil || string(got) != tt.want {
				t.Errorf("/data is %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestContextsFromGit(t *testing.T) {
	engine, images, project := onEngine(t)
	if !engine.Local() {
		t.Skip("needs an engine on this machine")
	}
	spec := model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: gitServer(t) + "#next:app"}
	inline := spec
	inline.DockerfileInline = "FROM scratch\nCOPY Dockerfile /data\n"
	for want, spec := range map[string]model.BuildSpec{"of the branch": spec, "FROM scratch\nCOPY data /data\n": inline} {
		facts, err := images.Build(t.Context(), spec, progress.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := engine.ReadImageFile(t.Context(), facts.ID, "/data"); err != nil || string(got) != want {
			t.Errorf("/data is %q (%v), want %q", got, err, want)
		}
	}
}

func TestCacheGoesOutAndComesBack(t *testing.T) {
	engine, images, project := onEngine(t)
	base := needShell(t, engine)
	if containerd, err := images.containerdStore(t.Context()); err != nil || !containerd {
		t.Skipf("needs an engine whose BuildKit exports caches: one with the containerd image store (%v)", err)
	}
	dir := t.TempDir()
	spec := model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: t.TempDir(),
		DockerfileInline: "FROM " + base + "\nRUN echo " + project + " > /out\n", CacheTo: []string{"type=local,dest=" + dir}}
	if _, err := images.Build(t.Context(), spec, progress.Discard); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err != nil {
		t.Fatalf("no cache was exported: %v", err)
	}
	spec.CacheTo, spec.CacheFrom = nil, []string{"type=local,src=" + dir}
	var seen events
	if _, err := images.Build(t.Context(), spec, &seen); err != nil {
		t.Fatal(err)
	}
	if text := seen.text(); !strings.Contains(text, "importing cache manifest") || !strings.Contains(text, ": cached") {
		t.Errorf("the cache was not used:\n%s", text)
	}
	for _, bad := range []string{"src=/x", "type=local,src"} {
		spec.CacheFrom = []string{bad}
		if _, err := images.Build(t.Context(), spec, progress.Discard); err == nil || !strings.Contains(err.Error(), "build.cache_from") {
			t.Errorf("cache_from %q: %v", bad, err)
		}
	}
}

func TestNoCacheAndTagsAndPlatforms(t *testing.T) {
	engine, images, project := onEngine(t)
	base := needShell(t, engine)
	name := "berth.test/" + project
	spec := model.BuildSpec{Name: name + ":dev", Project: project, Context: t.TempDir(), Tags: []string{name + ":second"},
		DockerfileInline: "FROM " + base + "\nRUN cat /proc/sys/kernel/random/uuid > /out\n"}
	build := func() string {
		t.Helper()
		facts, err := images.Build(t.Context(), spec, progress.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return facts.ID
	}
	first := build()
	if again := build(); again != first {
		t.Error("the cache was not used")
	}
	spec.NoCache = true
	if again := build(); again == first {
		t.Error("no_cache used the cache")
	}
	if _, found, err := engine.InspectImage(t.Context(), name+":second"); err != nil || !found {
		t.Errorf("the tag of build.tags is missing (%v)", err)
	}
	spec = model.BuildSpec{Name: name + ":several", Project: project, Context: tree(t, map[string]string{"a": "a"}),
		DockerfileInline: "FROM scratch\nCOPY a /a\n", Platforms: []string{"linux/amd64", "linux/arm64"}}
	facts, err := images.Build(t.Context(), spec, progress.Discard)
	containerd, storeErr := images.containerdStore(t.Context())
	if storeErr != nil {
		t.Fatal(storeErr)
	}
	if !containerd {
		if err == nil {
			t.Error("a graph driver holds an image for several platforms")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	fakes, nodes := fakeNodes("a")
	for _, platform := range spec.Platforms {
		if _, err := images.LoadAll(t.Context(), LoadRequest{Refs: []string{facts.Ref}, Nodes: nodes, Platform: platform, Sink: progress.Discard}); err != nil {
			t.Errorf("%s: %v", platform, err)
		}
	}
	if len(fakes[0].received) != 2 {
		t.Errorf("the node was sent %d images", len(fakes[0].received))
	}
}

func TestFailedCommandShowsItsOutput(t *testing.T) {
	engine, images, project := onEngine(t)
	base := needShell(t, engine)
	dockerfile := "FROM " + base + "\nRUN echo first line; echo second line >&2; exit 3\n"
	spec := model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: tree(t, map[string]string{"Dockerfile": dockerfile})}
	_, err := images.Build(t.Context(), spec, progress.Discard)
	if err == nil {
		t.Fatal("the build succeeded")
	}
	for _, want := range []string{"RUN echo first line", "exit code: 3", "Dockerfile:2", "first line", "second line"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestClassicBuilder(t *testing.T) {
	engine, images, project := onEngine(t)
	base := needShell(t, engine)
	task := progress.Start(progress.Discard, "build", "")
	dir := tree(t, map[string]string{
		"Dockerfile": "FROM " + base + "\nARG WHO\nCOPY . /src/\nRUN echo hello $WHO > /out\n", ".dockerignore": "*.log\n", "a.txt": "a", "b.log": "b",
	})
	spec := withLabels(model.BuildSpec{Name: "berth.test/" + project + ":dev", Project: project, Context: dir, Args: map[string]string{"WHO": "you"}})
	id, err := images.buildClassic(t.Context(), spec, task)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := images.tagged(t.Context(), spec.Name, id)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"/out": "hello you\n", "/src/a.txt": "a", "/src/b.log": ""} {
		got, err := engine.ReadImageFile(t.Context(), facts.ID, name)
		if want == "" != errors.Is(err, os.ErrNotExist) || string(got) != want {
			t.Errorf("%s is %q (%v), want %q", name, got, err, want)
		}
	}
	spec.DockerfileInline = "FROM " + base + "\nRUN echo why; exit 4\n"
	if _, err := images.buildClassic(t.Context(), spec, task); err == nil || !strings.Contains(err.Error(), "Step 2/") || !strings.Contains(err.Error(), "why") {
		t.Errorf("error is %v", err)
	}
	spec.Secrets = []model.BuildSecret{{ID: "token", Value: "x"}}
	if _, err := images.buildClassic(t.Context(), spec, task); err == nil || !strings.Contains(err.Error(), "secrets") {
		t.Errorf("what it cannot do: %v", err)
	}
}
