package offline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// debianSuite is the release that nodes and stand-ins are made of. Its systemd
// (252) is the last that starts on cgroup v1.
const debianSuite = "bookworm"

// debianOptions keep out of the root file system what no container reads.
var debianOptions = []string{
	"--variant=minbase", "--mode=root", "--include=ca-certificates",
	"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
	"--dpkgopt=path-exclude=/usr/share/info/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
	"--dpkgopt=path-include=/usr/share/doc/*/copyright",
	// Images are made whole or not at all: no need to wait for the disk after
	// every file, nor for translated package lists.
	"--dpkgopt=force-unsafe-io", `--aptopt=Acquire::Languages "none"`, `--aptopt=Acquire::GzipIndexes "true"`,
}

// debianKey changes with what goes into the Debian base, but not with the
// mirror or the day: a base is kept until its recipe changes.
func debianKey() string {
	return keyOf(append([]string{debianSuite, runtime.GOARCH}, debianOptions...)...)
}

// debianImage is the name of the base that all of the kit's images stand on.
func debianImage() string { return "berth/debian:" + debianSuite + "-" + debianKey() }

// ensureDebian gives the engine the Debian base, made with mmdebstrap.
func (k *Kit) ensureDebian(ctx context.Context, c *docker.Client) error {
	return k.makeImage(ctx, c, debianImage(), "Debian "+debianSuite, func(task *progress.Task) error {
		return k.makeDebian(ctx, c, task)
	})
}

func (k *Kit) makeDebian(ctx context.Context, c *docker.Client, task *progress.Task) error {
	dir, err := k.store.make(ctx, "debian", debianKey(), task, func(dir string) error {
		return bootstrap(ctx, task, filepath.Join(dir, "rootfs.tar"))
	})
	if err != nil {
		return err
	}
	rootfs, err := os.Open(filepath.Join(dir, "rootfs.tar"))
	if err != nil {
		return err
	}
	defer rootfs.Close()
	task.Update("importing into the engine")
	return c.ImportRootfs(ctx, rootfs, debianImage(), []string{`CMD ["bash"]`, "LABEL " + labelKit + "=debian"})
}

// bootstrap makes the root file system as an archive.
func bootstrap(ctx context.Context, task *progress.Task, archive string) error {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return problem.New("make a Debian root file system", errors.New("this needs Linux and root"), "run the command as root")
	}
	if err := installMissing(ctx, task, map[string]string{"mmdebstrap": "mmdebstrap"}); err != nil {
		return err
	}
	machine, err := readAptSources("/etc/apt")
	if err != nil {
		return err
	}
	sources, err := debianSources(machine, debianSuite, os.Getenv(mirrorVariable))
	if err != nil {
		return err
	}
	options, err := aptMirrorOptions(ctx)
	if err != nil {
		return err
	}
	list, err := os.CreateTemp("", "berth-*.sources")
	if err != nil {
		return err
	}
	defer os.Remove(list.Name())
	var stanzas []string
	for _, s := range sources {
		stanzas = append(stanzas, s.String())
	}
	_, err = list.WriteString(strings.Join(stanzas, "\n"))
	if err := errors.Join(err, list.Close()); err != nil {
		return err
	}
	argv := append([]string{"mmdebstrap"}, debianOptions...)
	for _, o := range options {
		argv = append(argv, "--aptopt="+o)
	}
	argv = append(argv, debianSuite, archive, list.Name())
	task.Update("bootstrapping Debian " + debianSuite)
	return retry(ctx, task, func() error {
		return command{argv: argv, env: []string{"SOURCE_DATE_EPOCH=1", "TMPDIR=" + filepath.Dir(archive)}}.run(ctx, task)
	})
}

// aptMirrorOptions returns the machine's apt settings without which its mirror
// may be of no use: how strictly dates are checked.
func aptMirrorOptions(ctx context.Context) ([]string, error) {
	out, err := command{argv: []string{"apt-config", "dump"}}.output(ctx)
	if err != nil {
		return nil, err
	}
	var options []string
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(line), ";"), " ")
		if name == "Acquire::Check-Valid-Until" || name == "Acquire::Check-Date" {
			options = append(options, fmt.Sprintf("%s %s", name, value))
		}
	}
	return options, nil
}
