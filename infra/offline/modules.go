package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/templates"
)

// A module is a Go module of the kit: texts below templates/offline/modules
// that require the module that is wanted and pin everything it needs, and the
// programs that are built from it.
type module struct {
	name     string
	programs []string // what the build leaves, for a check; "" entries are none
	ldflags  string
	tags     string
	files    map[string]string // go.mod, go.sum, main.go
	version  string            // of the module that is wanted
}

// moduleSpecs says what is built from which module. The version is go.mod's.
var moduleSpecs = []struct {
	name, wanted  string
	programs      []string
	ldflags, tags string // @VERSION@, @MAJOR@ and @MINOR@ stand for the version's parts
}{
	{name: "kind", wanted: "sigs.k8s.io/kind"},
	{
		name: "kubernetes", wanted: "k8s.io/kubernetes",
		programs: []string{"kubelet", "kubeadm", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "server"},
		ldflags: "-X k8s.io/component-base/version.gitVersion=@VERSION@ -X k8s.io/component-base/version.gitMajor=@MAJOR@" +
			" -X k8s.io/component-base/version.gitMinor=@MINOR@ -X k8s.io/component-base/version.gitTreeState=clean",
	},
	{
		name: "containerd", wanted: "github.com/containerd/containerd/v2", tags: "no_aufs no_zfs no_btrfs no_devmapper",
		programs: []string{"containerd", "ctr", "containerd-shim-runc-v2"},
		ldflags:  "-X github.com/containerd/containerd/v2/version.Version=@VERSION@",
	},
	{name: "cni", wanted: "github.com/containernetworking/plugins", programs: []string{"bridge", "ptp", "host-local", "loopback", "portmap"}},
	{
		name: "crictl", wanted: "sigs.k8s.io/cri-tools", programs: []string{"crictl"},
		ldflags: "-X sigs.k8s.io/cri-tools/pkg/version.Version=@VERSION@",
	},
	{name: "coredns", wanted: "github.com/coredns/coredns", programs: []string{"coredns"}},
	{name: "local-path-provisioner", wanted: "github.com/rancher/local-path-provisioner", programs: []string{"local-path-provisioner"}},
	{
		name: "metrics-server", wanted: "sigs.k8s.io/metrics-server", programs: []string{"metrics-server"},
	},
	{
		name: "traefik", wanted: "github.com/traefik/traefik/v3", programs: []string{"traefik"},
		ldflags: "-X github.com/traefik/traefik/v3/pkg/version.Version=@VERSION@",
	},
}

// readModules reads the kit's modules, by name.
func readModules() (map[string]module, error) {
	all := map[string]module{}
	for _, spec := range moduleSpecs {
		m := module{name: spec.name, programs: spec.programs, tags: spec.tags, files: map[string]string{}}
		dir := path.Join("offline", "modules", spec.name)
		err := fs.WalkDir(templates.Offline, dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := fs.ReadFile(templates.Offline, name)
			m.files[strings.TrimSuffix(strings.TrimPrefix(name, dir+"/"), ".txt")] = string(raw)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("module %q of the offline kit: %w", spec.name, err)
		}
		if m.version, err = requiredVersion(m.files["go.mod"], spec.wanted); err != nil {
			return nil, fmt.Errorf("module %q of the offline kit: %w", spec.name, err)
		}
		major, minor := majorMinor(m.version)
		m.ldflags = strings.NewReplacer("@VERSION@", m.version, "@MAJOR@", major, "@MINOR@", minor).Replace(spec.ldflags)
		all[m.name] = m
	}
	return all, nil
}

// requiredVersion is the version of a module that the text of a go.mod asks for.
func requiredVersion(gomod, wanted string) (string, error) {
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(strings.TrimPrefix(line, "require"))
		if len(fields) >= 2 && fields[0] == wanted && strings.HasPrefix(fields[1], "v") {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("its go.mod does not require %q", wanted)
}

// majorMinor returns the first two numbers of a version: v1.36.3 gives 1, 36.
func majorMinor(version string) (major, minor string) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return parts[0], ""
	}
	return parts[0], parts[1]
}

func (m module) key() string {
	return keyOf(goVersion(), runtime.GOARCH, m.ldflags, m.tags, sortedText(m.files))
}

// buildModule builds the programs of a module and returns the folder that
// holds them.
func (k *Kit) buildModule(ctx context.Context, name string) (string, error) {
	m, ok := k.modules[name]
	if !ok {
		return "", fmt.Errorf("the offline kit has no module %q", name)
	}
	if k.store.has(m.name, m.key()) {
		return k.store.path(m.name, m.key()), nil
	}
	task := progress.Start(k.sink, "build "+m.name+" "+m.version, "starting")
	dir, err := k.store.make(ctx, m.name, m.key(), task, func(dir string) error { return m.build(ctx, task, dir) })
	return dir, task.End(err, "")
}

// build fetches what the module needs and builds its programs into dir.
func (m module) build(ctx context.Context, task *progress.Task, dir string) error {
	src, err := os.MkdirTemp("", "berth-"+m.name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(src)
	if err := m.writeTo(src); err != nil {
		return err
	}
	packages := "tool"
	if _, own := m.files["main.go"]; own {
		packages = "."
	}
	task.Update("compiling (modules are fetched on the way)")
	beat := startBeat(task, "compiling")
	err = retry(ctx, task, func() error {
		return goBuild(src, dir+"/", m.ldflags, m.tags, packages).run(ctx, task)
	})
	beat()
	if err != nil {
		return err
	}
	var missing []error
	for _, p := range m.programs {
		if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
			missing = append(missing, err)
		}
	}
	return errors.Join(missing...)
}

// writeTo writes the module's files below dir.
func (m module) writeTo(dir string) error {
	for name, text := range m.files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
