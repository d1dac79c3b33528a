package image

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/docker"
)

// KindNode is a node that is a container of the engine, as kind's are. It
// needs nothing in the node but what kind's own node images have: sh and ctr.
type KindNode struct {
	shell        shell
	controlPlane bool
}

// NewNode returns the node whose container has the given name. Close it.
func NewNode(engine *docker.Client, container string) *KindNode {
	return &KindNode{shell: newShell(engine, container)}
}

// NodesOf returns the running nodes of the kind cluster called name, berth's
// or not, from the labels kind puts on their containers, by name.
func NodesOf(ctx context.Context, engine *docker.Client, cluster string) ([]*KindNode, error) {
	nodes, _, err := AllNodesOf(ctx, engine, cluster)
	return nodes, err
}

// AllNodesOf is NodesOf, and names the nodes that do not run.
func AllNodesOf(ctx context.Context, engine *docker.Client, cluster string) (running []*KindNode, stopped []string, err error) {
	containers, err := engine.Containers(ctx, "io.x-k8s.kind.cluster="+cluster)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range containers {
		role := c.Labels["io.x-k8s.kind.role"]
		switch {
		case role != "control-plane" && role != "worker":
		case c.Running():
			n := NewNode(engine, c.Name)
			n.controlPlane = role == "control-plane"
			running = append(running, n)
		default:
			stopped = append(stopped, c.Name)
		}
	}
	return running, stopped, nil
}

// ControlPlane reports whether the node is of the control plane, which runs
// the user's pods only where there is no worker.
func (n *KindNode) ControlPlane() bool { return n.controlPlane }

// ctr is containerd's client in the kubelet's namespace.
const ctr = "ctr -n k8s.io "

// Name is the name of the node and of its container.
func (n *KindNode) Name() string { return n.shell.container }

// Close ends the shell in the node.
func (n *KindNode) Close() { n.shell.close() }

// Snapshots asks containerd for all snapshots of its default snapshotter.
func (n *KindNode) Snapshots(ctx context.Context) (map[digest.Digest]bool, error) {
	out, err := n.shell.run(ctx, ctr+"snapshots ls")
	if err != nil {
		return nil, fmt.Errorf("ask what layers it has: %w", err)
	}
	return parseSnapshots(out), nil
}

// InUse asks what snapshots containers write on: a container's record has but the
// name that its image had then.
func (n *KindNode) InUse(ctx context.Context) (map[digest.Digest]bool, error) {
	out, err := n.shell.run(ctx, ctr+"snapshots ls")
	if err != nil {
		return nil, fmt.Errorf("ask what images are in use: %w", err)
	}
	return parseInUse(out), nil
}

// Records asks for those that pass a filter, any of which will do.
func (n *KindNode) Records(ctx context.Context, names []string, d digest.Digest) (map[string]digest.Digest, error) {
	filters := byName(names)
	if d != "" {
		filters = append(filters, quote("target.digest=="+d.String()))
	}
	found := map[string]digest.Digest{}
	if len(filters) == 0 {
		return found, nil // without a filter ctr lists everything
	}
	out, err := n.shell.run(ctx, ctr+"images ls "+strings.Join(filters, " "))
	if err != nil {
		return nil, fmt.Errorf("ask what images it has: %w", err)
	}
	for _, i := range parseImages(out) {
		found[i.Name] = i.Target
	}
	return found, nil
}

// byName are filters of ctr for images with these names.
func byName(names []string) []string {
	var filters []string
	for _, name := range names {
		filters = append(filters, quote("name=="+strconv.Quote(name)))
	}
	return filters
}

// Unpacked asks for the records alone: an image is unpacked when the node has the
// snapshot of its last layer, which cannot be without those below it.
func (n *KindNode) Unpacked(ctx context.Context, names []string) (map[string]digest.Digest, error) {
	out, err := n.shell.run(ctx, ctr+"images check "+strings.Join(byName(names), " "))
	if err != nil {
		return nil, fmt.Errorf("ask what images it has: %w", err)
	}
	return parseUnpacked(out), nil
}

// parseUnpacked reads `ctr images check`: REF TYPE DIGEST STATUS SIZE UNPACKED.
func parseUnpacked(text string) map[string]digest.Digest {
	found := map[string]digest.Digest{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || f[len(f)-1] != "true" {
			continue
		}
		if d, err := digest.Parse(f[2]); err == nil {
			found[f[0]] = d
		}
	}
	return found
}

// parseSnapshots reads `ctr snapshots ls`: KEY PARENT KIND, PARENT being empty
// for the lowest layer.
func parseSnapshots(text string) map[digest.Digest]bool {
	found := map[digest.Digest]bool{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[len(f)-1] == "Committed" {
			found[digest.Digest(f[0])] = true
		}
	}
	return found
}

// parseInUse reads the parents of what is not committed.
func parseInUse(text string) map[digest.Digest]bool {
	found := map[digest.Digest]bool{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && (f[2] == "Active" || f[2] == "View") {
			found[digest.Digest(f[1])] = true
		}
	}
	return found
}

// parseImages reads `ctr images ls`: REF TYPE DIGEST SIZE UNIT PLATFORMS LABELS.
func parseImages(text string) []NodeImage {
	var images []NodeImage
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] == "REF" {
			continue
		}
		d, err := digest.Parse(f[2])
		if err != nil {
			continue // a warning among the lines
		}
		img := NodeImage{Name: f[0], Target: d, Labels: map[string]string{}}
		for _, pair := range strings.Split(f[len(f)-1], ",") {
			if key, value, ok := strings.Cut(pair, "="); ok {
				img.Labels[key] = value
			}
		}
		images = append(images, img)
	}
	return images
}

// chooseImport finds out, once a shell, whether ctr can drop layer blobs when
// they are unpacked, which is faster too: containerd 1.7 and newer. The program
// is searched for the flag's name: that takes a tenth of what starting it does.
const chooseImport = `[ -n "${berth_import+x}" ] || berth_import=$(grep -q discard-unpacked-layers "$(command -v ctr)" && echo "--local --discard-unpacked-layers"); `

// Import never asks for all platforms, which fails on layers that are not
// sent, nor for digest records, which would pin every old layer for ever.
func (n *KindNode) Import(ctx context.Context, platform string, labels map[string]string, archive io.Reader) (map[string]digest.Digest, error) {
	command := ctr + "images import $berth_import --platform " + quote(platform)
	for _, l := range labelArgs(labels) {
		command += " --label " + quote(l)
	}
	out, err := n.shell.feed(ctx, chooseImport, command+" -", archive)
	if err != nil {
		return nil, err
	}
	return parseImported(out), nil
}

// unpackedLine is what ctr says of an image after it has found or made the
// snapshot of every layer.
var unpackedLine = regexp.MustCompile(`(?m)^unpacking (\S+) \((sha256:[0-9a-f]{64})\)\.\.\.done$`)

func parseImported(text string) map[string]digest.Digest {
	found := map[string]digest.Digest{}
	for _, m := range unpackedLine.FindAllStringSubmatch(text, -1) {
		found[m[1]] = digest.Digest(m[2])
	}
	return found
}

// Tag moves names that stand for something else.
func (n *KindNode) Tag(ctx context.Context, source string, names []string, labels map[string]string) error {
	command := ctr + "images tag --force " + quote(source)
	for _, name := range names {
		command += " " + quote(name)
	}
	for _, name := range names {
		if args := labelArgs(labels); len(args) > 0 {
			command += " && " + ctr + "images label " + quote(name)
			for _, l := range args {
				command += " " + quote(l)
			}
		}
	}
	_, err := n.shell.run(ctx, command)
	return err
}

func labelArgs(labels map[string]string) []string {
	var args []string
	for k, v := range labels {
		args = append(args, k+"="+v)
	}
	slices.Sort(args)
	return args
}

// separator stands between the outputs of two programs.
const separator = "--berth--"

// Images asks for records and containers with one command.
func (n *KindNode) Images(ctx context.Context) ([]NodeImage, error) {
	out, err := n.shell.run(ctx, ctr+"containers ls && echo "+separator+" && "+ctr+"images ls")
	if err != nil {
		return nil, fmt.Errorf("ask what images it has: %w", err)
	}
	containers, list, _ := strings.Cut(out, separator)
	used := map[string]bool{} // names of images that containers were made from
	for line := range strings.Lines(containers) {
		if f := strings.Fields(line); len(f) >= 2 {
			used[f[1]] = true // CONTAINER IMAGE RUNTIME
		}
	}
	images := parseImages(list)
	running := map[digest.Digest]bool{}
	for _, i := range images {
		if used[i.Name] {
			running[i.Target] = true
		}
	}
	for k := range images {
		images[k].Running = running[images[k].Target]
	}
	return images, nil
}

// Mirrors looks where containerd does: in the folders of hosts files, and in the
// sections of its configuration that older versions have.
func (n *KindNode) Mirrors(ctx context.Context, registry string) (bool, error) {
	const dir = "/etc/containerd/certs.d/"
	out, err := n.shell.run(ctx, "if [ -e "+quote(dir+registry+"/hosts.toml")+" ] || [ -e "+dir+"_default/hosts.toml ] || "+
		`grep -Eq 'registry"?[.](mirrors|configs)' /etc/containerd/config.toml; then echo yes; fi`)
	return strings.TrimSpace(out) == "yes", err
}

// Pull goes through the kubelet's interface, where mirrors and credentials of the
// node apply.
func (n *KindNode) Pull(ctx context.Context, ref string) error {
	_, err := n.shell.run(ctx, "crictl pull "+quote(ref))
	return err
}

// Remove waits until containerd has dropped what nothing uses any more: left to
// itself it would do so in its own time, in the middle of an import that counts on it.
func (n *KindNode) Remove(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	command := ctr + "images rm --sync"
	for _, name := range names {
		command += " " + quote(name)
	}
	_, err := n.shell.run(ctx, command)
	return err
}

func parseUnix(text string) time.Time {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
