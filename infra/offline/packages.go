package offline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// An osRelease is what /etc/os-release says of the machine.
type osRelease struct{ ID, Codename string }

func readOSRelease(path string) (osRelease, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return osRelease{}, err
	}
	var r osRelease
	for line := range strings.Lines(string(raw)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		v = strings.Trim(v, `"'`)
		switch k {
		case "ID":
			r.ID = v
		case "VERSION_CODENAME":
			r.Codename = v
		}
	}
	return r, nil
}

// canInstall returns nil where packages can be installed: Debian or Ubuntu, as
// root.
func canInstall() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("this is %s", runtime.GOOS)
	}
	release, err := readOSRelease("/etc/os-release")
	if err != nil {
		return err
	}
	if release.ID != "debian" && release.ID != "ubuntu" {
		return fmt.Errorf("this is %q, neither Debian nor Ubuntu", release.ID)
	}
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	return nil
}

// enginePackages says where a release's engine comes from: packages of a later
// suite, pinned one by one so that nothing else comes from there. A release
// that is not listed has a new enough engine of its own.
var enginePackages = map[string]struct {
	suite    string
	packages []string
}{
	"bookworm": {suite: "trixie", packages: []string{"docker.io", "docker-cli", "docker-buildx", "containerd"}},
}

// installEngine installs dockerd, containerd, runc and the docker command.
func (k *Kit) installEngine(ctx context.Context, task *progress.Task) error {
	release, err := readOSRelease("/etc/os-release")
	if err != nil {
		return err
	}
	apt, err := k.privateApt(release)
	if err != nil {
		return err
	}
	task.Update("reading package lists")
	err = retry(ctx, task, func() error { return apt.command("update", "-q").run(ctx, task) })
	if err != nil {
		return err
	}
	wanted := []string{"docker.io", "containerd", "runc", "iptables", "iproute2", "ca-certificates", "procps", "kmod", "xz-utils"}
	if _, err := exec.LookPath("docker"); err != nil && apt.has(ctx, "docker-cli", task) {
		wanted = append(wanted, "docker-cli") // elsewhere docker.io has the command
	}
	task.Update("installing " + strings.Join(wanted, ", "))
	args := append([]string{"install", "-q", "-y", "--no-install-recommends", "--no-upgrade"}, wanted...)
	return retry(ctx, task, func() error { return apt.command(args...).run(ctx, task) })
}

// installMissing installs the packages whose commands the machine lacks, from
// its own sources.
func installMissing(ctx context.Context, task *progress.Task, packageByCommand map[string]string) error {
	var missing []string
	for name, pkg := range packageByCommand {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := canInstall(); err != nil {
		return problem.New("install "+strings.Join(missing, ", "), err, "install them, then run the command again")
	}
	task.Update("installing " + strings.Join(missing, ", "))
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	install := append([]string{"apt-get", "install", "-q", "-y", "--no-install-recommends"}, missing...)
	return retry(ctx, task, func() error {
		if err := (command{env: env, argv: []string{"apt-get", "update", "-q"}}).run(ctx, task); err != nil {
			return err
		}
		return command{env: env, argv: install}.run(ctx, task)
	})
}

// An aptConfig runs apt-get with sources, pins and package lists of its own,
// so that the machine's configuration stays as it is.
type aptConfig struct{ dir string }

// privateApt writes an apt configuration for the machine's own release plus,
// pinned low, the suite its engine comes from.
func (k *Kit) privateApt(release osRelease) (aptConfig, error) {
	a := aptConfig{filepath.Join(k.store.root, "apt")}
	machine, err := readAptSources("/etc/apt")
	if err != nil {
		return a, err
	}
	stanzas := []string{}
	for _, s := range machine {
		if isDebianSuite(s.Suites) || release.ID == "ubuntu" || strings.HasPrefix(s.Suites[0], release.Codename) {
			stanzas = append(stanzas, s.String())
		}
	}
	pins := ""
	if from, ok := enginePackages[release.Codename]; ok {
		second, err := debianSources(machine, from.suite, os.Getenv(mirrorVariable))
		if err != nil {
			return a, err
		}
		for _, s := range second {
			stanzas = append(stanzas, s.String())
		}
		pins = fmt.Sprintf("Package: *\nPin: release n=%s\nPin-Priority: 50\n\nPackage: %s\nPin: release n=%s\nPin-Priority: 900\n",
			from.suite, strings.Join(from.packages, " "), from.suite)
	}
	return a, errors.Join(
		os.MkdirAll(filepath.Join(a.dir, "lists", "partial"), 0o755),
		os.MkdirAll(filepath.Join(a.dir, "sources"), 0o755),
		os.WriteFile(filepath.Join(a.dir, "sources", "berth.sources"), []byte(strings.Join(stanzas, "\n")), 0o644),
		os.WriteFile(filepath.Join(a.dir, "preferences"), []byte(pins), 0o644),
	)
}

// has reports whether apt could install a package.
func (a aptConfig) has(ctx context.Context, name string, task *progress.Task) bool {
	return a.command("install", "-q", "--simulate", name).run(ctx, task) == nil
}

func (a aptConfig) command(args ...string) command {
	options := []string{
		"Dir::Etc::SourceList=/dev/null",
		"Dir::Etc::SourceParts=" + filepath.Join(a.dir, "sources"),
		"Dir::Etc::Preferences=" + filepath.Join(a.dir, "preferences"),
		"Dir::Etc::PreferencesParts=/dev/null",
		"Dir::State::Lists=" + filepath.Join(a.dir, "lists"),
		"APT::Sandbox::User=root",
		"Dpkg::Options::=--force-confold",
		"Acquire::Retries=3",
	}
	argv := []string{"apt-get"}
	for _, o := range options {
		argv = append(argv, "-o", o)
	}
	return command{env: []string{"DEBIAN_FRONTEND=noninteractive"}, argv: append(argv, args...)}
}
