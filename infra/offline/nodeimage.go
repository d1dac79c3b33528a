package offline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/progress"
)

// Labels of the images that the kit makes.
const (
	labelKit        = "dev.berth.kit"        // what the image is for: debian, node-base, node, base
	labelKubernetes = "dev.berth.kubernetes" // the version of Kubernetes of a node image
	labelImages     = "dev.berth.images"     // the images that nodes hold from the start, separated by spaces
)

// sandboxImage is the image of every pod's sandbox; kind's containerd
// configuration names it.
const sandboxImage = "registry.k8s.io/pause:3.10"

// imageRef is the name, on the nodes, of an image of the kit itself.
func imageRef(name, tag string) string { return "docker.io/berth/" + name + ":" + tag }

// A nodePlan is everything that goes into the node image, decided before any
// of it is built.
type nodePlan struct {
	version string // of Kubernetes
	texts   map[string]string
	key     string
}

var nodeTexts = []string{
	"install-base.sh", "collect-net.sh", "finish.sh", "import-images.sh", "berth-node", "default-cni.yaml", "default-storage.yaml",
}

// nodeModules are the modules whose programs nodes hold.
var nodeModules = []string{"kubernetes", "containerd", "cni", "crictl", "coredns", "local-path-provisioner", "metrics-server", "traefik"}

func (k *Kit) planNode() (nodePlan, error) {
	p := nodePlan{version: k.modules["kubernetes"].version, texts: map[string]string{}}
	parts := []string{debianKey(), nodePackages, runtime.GOARCH, k.modules["kind"].key(), nodeLayoutVersion}
	for _, name := range nodeTexts {
		text, err := nodeText(name)
		if err != nil {
			return p, err
		}
		p.texts[name] = text
		parts = append(parts, text)
	}
	for _, m := range nodeModules {
		parts = append(parts, k.modules[m].key())
	}
	for _, name := range []string{"pause", "cniagent"} {
		parts = append(parts, programs[name].key())
	}
	p.key = keyOf(parts...)
	return p, nil
}

// nodeLayoutVersion changes when the code below puts the same things into the
// node image in another way.
const nodeLayoutVersion = "1"

func (p nodePlan) ref() string { return "berth/node:" + p.version + "-" + p.key[:8] }

// NodeImage is the name of the node image that this berth makes, whether it is
// there or not, and the version of Kubernetes it holds.
func (k *Kit) NodeImage() (ref, kubernetes string, err error) {
	p, err := k.planNode()
	return p.ref(), p.version, err
}

// EnsureNodeImage gives the engine the node image and returns its name.
func (k *Kit) EnsureNodeImage(ctx context.Context, c *docker.Client) (string, error) {
	plan, err := k.planNode()
	if err != nil {
		return "", err
	}
	if _, found, err := c.ImageInfo(ctx, plan.ref()); err != nil || found {
		return plan.ref(), err
	}
	// The slow builds come first, so that a fault of the mirror costs none of
	// their time.
	built := map[string]string{}
	for _, m := range nodeModules {
		if built[m], err = k.buildModule(ctx, m); err != nil {
			return "", err
		}
	}
	nodeBase, err := k.ensureNodeBase(ctx, c)
	if err != nil {
		return "", err
	}
	netRootfs, err := k.ensureNetRootfs(ctx, c, nodeBase)
	if err != nil {
		return "", err
	}
	return plan.ref(), k.makeImage(ctx, c, plan.ref(), "node image "+plan.version, func(task *progress.Task) error {
		return k.makeNodeImage(ctx, c, task, plan, built, nodeBase, netRootfs)
	})
}

func (k *Kit) makeNodeImage(ctx context.Context, c *docker.Client, task *progress.Task, plan nodePlan, built map[string]string, nodeBase, netRootfs string) (err error) {
	for _, name := range []string{"pause", "cniagent"} {
		if built[name], err = k.buildProgram(ctx, task, programs[name]); err != nil {
			return err
		}
	}
	specs, err := k.nodeImages(ctx, plan, built, netRootfs)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "berth-node-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	w, err := openWorkshop(ctx, c, task, nodeBase, plan.ref())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	task.Update("copying programs and settings")
	if err := k.fillNode(ctx, w, plan, built); err != nil {
		return err
	}
	if err := w.script(ctx, plan.texts["finish.sh"], nil, nil); err != nil {
		return err
	}
	task.Update(fmt.Sprintf("making %d images", len(specs)))
	stop := startBeat(task, fmt.Sprintf("making %d images", len(specs)))
	err = writeLayout(ctx, filepath.Join(work, "layout"), specs)
	stop()
	if err != nil {
		return err
	}
	task.Update("importing images")
	read, write := io.Pipe()
	go func() { write.CloseWithError(tarTree(write, filepath.Join(work, "layout"), "", nil)) }()
	if err := w.script(ctx, plan.texts["import-images.sh"], nil, read); err != nil {
		return errors.Join(err, read.Close())
	}
	var refs []string
	for _, s := range specs {
		refs = append(refs, s.ref)
	}
	task.Update("committing")
	stop = startBeat(task, "committing")
	defer stop()
	err = w.commit(ctx, plan.ref(),
		`ENTRYPOINT ["/usr/local/bin/berth-node", "/usr/local/bin/entrypoint", "/sbin/init"]`,
		"ENV container=docker", "STOPSIGNAL SIGRTMIN+3",
		fmt.Sprintf("LABEL %s=node %s=%s %s=%q", labelKit, labelKubernetes, plan.version, labelImages, strings.Join(refs, " ")))
	if err != nil {
		return err
	}
	return c.TagImage(ctx, plan.ref(), "berth/node:"+plan.version)
}

// nodeImages lists the images that nodes hold from the start: what kubeadm
// asks for, and the kit's own.
func (k *Kit) nodeImages(ctx context.Context, plan nodePlan, built map[string]string, netRootfs string) ([]nodeImageSpec, error) {
	kube := built["kubernetes"]
	out, err := command{argv: []string{filepath.Join(kube, "kubeadm"), "config", "images", "list", "--kubernetes-version", plan.version}}.output(ctx)
	if err != nil {
		return nil, err
	}
	specs := []nodeImageSpec{{ref: sandboxImage, binary: filepath.Join(built["pause"], "pause"), path: "/pause", entrypoint: []string{"/pause"}}}
	for _, ref := range strings.Fields(string(out)) {
		name := ref[strings.LastIndex(ref, "/")+1 : strings.LastIndex(ref, ":")]
		s := nodeImageSpec{ref: ref, binary: filepath.Join(kube, name), path: "/usr/local/bin/" + name}
		switch name {
		case "pause":
			continue
		case "etcd":
			s.binary = filepath.Join(kube, "server")
		case "coredns":
			s.binary, s.path = filepath.Join(built["coredns"], "coredns"), "/coredns"
			s.entrypoint = []string{"/coredns"}
		case "kube-proxy":
			s.base = netRootfs
		}
		specs = append(specs, s)
	}
	own := func(name, dir, tag string) nodeImageSpec {
		path := "/usr/local/bin/" + name
		return nodeImageSpec{ref: imageRef(name, tag), binary: filepath.Join(dir, name), path: path, entrypoint: []string{path}}
	}
	agent := own("cniagent", built["cniagent"], programs["cniagent"].key())
	agent.base = netRootfs
	specs = append(specs, agent, nodeImageSpec{ref: k.helperImage(), base: netRootfs, entrypoint: []string{"/bin/sh"}})
	for _, m := range []string{"local-path-provisioner", "metrics-server", "traefik"} {
		specs = append(specs, own(m, built[m], k.modules[m].version))
	}
	return specs, nil
}

func (k *Kit) helperImage() string { return imageRef("helper", debianKey()) }

// fillNode copies kind's files, the programs and the manifests into the node.
func (k *Kit) fillNode(ctx context.Context, w *workshop, plan nodePlan, built map[string]string) error {
	files, err := k.kindFiles(ctx)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	err = tarTree(&buf, files, "", func(path string, info fs.FileInfo) int64 {
		if info.IsDir() || strings.HasPrefix(path, "usr/local/bin/") || strings.HasPrefix(path, "kind/bin/") {
			return 0o755
		}
		return 0o644
	})
	if err != nil {
		return err
	}
	if err := w.copyIn(ctx, &buf); err != nil {
		return fmt.Errorf("copy kind's files: %w", err)
	}
	images := map[string]string{
		"CNI_IMAGE": imageRef("cniagent", programs["cniagent"].key()), "HELPER_IMAGE": k.helperImage(),
		"PROVISIONER_IMAGE": imageRef("local-path-provisioner", k.modules["local-path-provisioner"].version),
	}
	small, err := tarOf(
		tarFile{name: "kind/version", mode: 0o644, data: []byte(plan.version + "\n")},
		tarFile{name: "kind/manifests/default-cni.yaml", mode: 0o644, data: []byte(fill(plan.texts["default-cni.yaml"], images))},
		tarFile{name: "kind/manifests/default-storage.yaml", mode: 0o644, data: []byte(fill(plan.texts["default-storage.yaml"], images))},
		tarFile{name: "usr/local/bin/berth-node", mode: 0o755, data: []byte(plan.texts["berth-node"])},
	)
	if err != nil {
		return err
	}
	if err := w.copyIn(ctx, bytes.NewReader(small)); err != nil {
		return fmt.Errorf("copy manifests: %w", err)
	}
	return w.copyPrograms(ctx, map[string][]string{
		"usr/bin":       programsIn(built["kubernetes"], "kubelet", "kubeadm", "kubectl"),
		"usr/local/bin": append(programsIn(built["containerd"], "containerd", "ctr", "containerd-shim-runc-v2"), programsIn(built["crictl"], "crictl")...),
		"opt/cni/bin":   programsIn(built["cni"], "bridge", "ptp", "host-local", "loopback", "portmap"),
	})
}

func programsIn(dir string, names ...string) []string {
	var paths []string
	for _, n := range names {
		paths = append(paths, filepath.Join(dir, n))
	}
	return paths
}

// copyPrograms copies programs of this machine into folders of the workshop.
func (w *workshop) copyPrograms(ctx context.Context, byFolder map[string][]string) error {
	for folder, paths := range byFolder {
		var files []tarFile
		for _, p := range paths {
			raw, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			files = append(files, tarFile{name: folder + "/" + filepath.Base(p), mode: 0o755, data: raw})
		}
		archive, err := tarOf(files...)
		if err != nil {
			return err
		}
		if err := w.copyIn(ctx, bytes.NewReader(archive)); err != nil {
			return fmt.Errorf("copy programs to /%s: %w", folder, err)
		}
	}
	return nil
}

// kindFiles returns the folder of kind's own node files, in the module cache.
func (k *Kit) kindFiles(ctx context.Context) (string, error) {
	src, err := os.MkdirTemp("", "berth-kind-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(src)
	if err := k.modules["kind"].writeTo(src); err != nil {
		return "", err
	}
	out, err := command{dir: src, argv: []string{"go", "mod", "download", "-json", "sigs.k8s.io/kind"}, env: []string{"GOWORK=off", "GOFLAGS="}}.output(ctx)
	if err != nil {
		return "", err
	}
	var got struct{ Dir string }
	if err := json.Unmarshal(out, &got); err != nil {
		return "", err
	}
	return filepath.Join(got.Dir, "images", "base", "files"), nil
}
