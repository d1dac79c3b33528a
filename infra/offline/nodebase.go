package offline

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/templates"
)

// nodePackages are what a node needs of Debian.
const nodePackages = "systemd systemd-sysv dbus iptables nftables iproute2 ethtool socat conntrack mount kmod procps curl " +
	"ca-certificates jq runc util-linux e2fsprogs libseccomp2 pigz"

// nodeText reads one of the texts the node image is made with.
func nodeText(name string) (string, error) {
	raw, err := fs.ReadFile(templates.Offline, path.Join("offline", "node", name))
	return string(raw), err
}

// nodeBaseImage is the name of Debian with a node's packages.
func nodeBaseImage(install string) string {
	return "berth/node-base:" + keyOf(debianKey(), nodePackages, install)
}

// ensureNodeBase gives the engine the node's Debian and returns its name.
func (k *Kit) ensureNodeBase(ctx context.Context, c *docker.Client) (string, error) {
	install, err := nodeText("install-base.sh")
	if err != nil {
		return "", err
	}
	ref := nodeBaseImage(install)
	if _, found, err := c.ImageInfo(ctx, ref); err != nil || found {
		return ref, err
	}
	if err := k.ensureDebian(ctx, c); err != nil {
		return "", err
	}
	return ref, k.makeImage(ctx, c, ref, "node packages", func(task *progress.Task) error {
		return makeNodeBase(ctx, c, task, ref, install)
	})
}

func makeNodeBase(ctx context.Context, c *docker.Client, task *progress.Task, ref, install string) error {
	return retry(ctx, task, func() (err error) {
		w, err := openWorkshop(ctx, c, task, debianImage(), ref)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.close(ctx)) }()
		task.Update("installing the packages of a node")
		if err := w.script(ctx, install, []string{"PACKAGES=" + nodePackages}, nil); err != nil {
			return err
		}
		return w.commit(ctx, ref, `CMD ["bash"]`, "LABEL "+labelKit+"=node-base")
	})
}

// ensureNetRootfs makes the small root file system of programs that handle the
// pod network and volumes, and returns its archive.
func (k *Kit) ensureNetRootfs(ctx context.Context, c *docker.Client, nodeBase string) (string, error) {
	collect, err := nodeText("collect-net.sh")
	if err != nil {
		return "", err
	}
	key := keyOf(nodeBase, collect, runtime.GOARCH)
	if !k.store.has("net-rootfs", key) {
		task := progress.Start(k.sink, "network tools", "collecting commands and libraries")
		_, err := k.store.make(ctx, "net-rootfs", key, task, func(dir string) (err error) {
			w, err := openWorkshop(ctx, c, task, nodeBase, "berth/net-rootfs")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, w.close(ctx)) }()
			return writeFile(filepath.Join(dir, "rootfs.tar"), func(out io.Writer) error {
				return w.capture(ctx, collect, nil, out)
			})
		})
		if task.End(err, "") != nil {
			return "", err
		}
	}
	return filepath.Join(k.store.path("net-rootfs", key), "rootfs.tar"), nil
}

// fields of a template are written @NAME@.
func fill(text string, values map[string]string) string {
	var pairs []string
	for k, v := range values {
		pairs = append(pairs, "@"+k+"@", v)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
