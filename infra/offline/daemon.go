package offline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/progress"
)

// A daemon is a dockerd that berth starts where no init system does.
type daemon struct {
	socket     string
	pidFile    string
	execRoot   string
	dataRoot   string
	configFile string
	log        string
	bridge     string // a bridge of its own beside another daemon's; "" for docker0
}

// mainDaemon is the machine's own, at the default socket.
func mainDaemon() daemon {
	return daemon{
		socket: "/var/run/docker.sock", pidFile: "/var/run/docker.pid", execRoot: "/var/run/docker",
		dataRoot: "/var/lib/docker", configFile: "/etc/docker/daemon.json", log: "/var/log/dockerd.log",
	}
}

// besideDaemon is one that runs beside an engine that is of no use to berth.
func besideDaemon() daemon {
	return daemon{
		socket: "/var/run/berth/docker.sock", pidFile: "/var/run/berth/docker.pid", execRoot: "/var/run/berth/docker",
		dataRoot: "/var/lib/berth/docker", configFile: "/etc/berth/daemon.json", log: "/var/log/berth-dockerd.log",
		bridge: "berth0",
	}
}

func (d daemon) host() string { return "unix://" + d.socket }

func (d daemon) installed() bool {
	_, dockerd := exec.LookPath("dockerd")
	_, runc := exec.LookPath("runc")
	return dockerd == nil && runc == nil
}

// configure writes the daemon's configuration unless there is one: the image
// store of current Docker, and the MTU of this machine's own network where it
// is smaller than the usual one.
func (d daemon) configure() error {
	if _, err := os.Stat(d.configFile); err == nil {
		return nil
	}
	config := map[string]any{"features": map[string]bool{"containerd-snapshotter": true}}
	if mtu := smallestMTU(); mtu < 1500 {
		config["mtu"] = mtu
	}
	raw, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(d.configFile), 0o755), os.WriteFile(d.configFile, append(raw, '\n'), 0o644))
}

// smallestMTU is the smallest MTU of the machine's interfaces that are up and
// lead somewhere, 1500 at most.
func smallestMTU() int {
	mtu := 1500
	interfaces, err := net.Interfaces()
	if err != nil {
		return mtu
	}
	for _, i := range interfaces {
		virtual := strings.HasPrefix(i.Name, "veth") || strings.HasPrefix(i.Name, "br-") || strings.HasPrefix(i.Name, "docker")
		addrs, err := i.Addrs()
		if err != nil || len(addrs) == 0 || virtual || i.Flags&net.FlagLoopback != 0 || i.Flags&net.FlagUp == 0 {
			continue
		}
		if i.MTU >= 576 {
			mtu = min(mtu, i.MTU)
		}
	}
	return mtu
}

// start starts the daemon, through systemd where that runs, and waits until it
// answers. The caller holds the engine lock.
func (d daemon) start(ctx context.Context, task *progress.Task) error {
	if err := d.configure(); err != nil {
		return err
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil && d.bridge == "" {
		task.Update("starting docker.service")
		if err := (command{argv: []string{"systemctl", "enable", "--now", "docker.service"}}).run(ctx, task); err != nil {
			return err
		}
		return d.wait(ctx, task)
	}
	if err := d.clearStale(); err != nil {
		return err
	}
	if err := d.makeBridge(ctx, task); err != nil {
		return err
	}
	task.Update("starting dockerd")
	if err := d.launch(ctx); err != nil {
		return err
	}
	return d.wait(ctx, task)
}

// launch starts dockerd in a session of its own, so that it outlives berth.
func (d daemon) launch(ctx context.Context) error {
	for _, dir := range []string{filepath.Dir(d.log), filepath.Dir(d.socket), filepath.Dir(d.pidFile), d.execRoot, d.dataRoot} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"--fork", "dockerd", "--host", d.host(), "--pidfile", d.pidFile, "--exec-root", d.execRoot,
		"--data-root", d.dataRoot, "--config-file", d.configFile,
	}
	if d.bridge != "" {
		args = append(args, "--bridge", d.bridge)
	}
	// setsid --fork ends at once; its child is nobody's but init's.
	cmd := exec.CommandContext(ctx, "setsid", args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Run()
}

// wait waits until the daemon answers, at most a minute.
func (d daemon) wait(ctx context.Context, task *progress.Task) error {
	const limit = time.Minute
	begin := time.Now()
	for {
		c, err := docker.Connect(ctx, d.host())
		if err == nil {
			return c.Close()
		}
		waited := time.Since(begin)
		if waited > limit || (waited > 3*time.Second && !d.alive()) {
			return fmt.Errorf("it does not answer after %s: %w%s", waited.Round(time.Second), err, lastLines(d.log))
		}
		task.Update(fmt.Sprintf("waiting for dockerd to answer (%s)", waited.Round(time.Second)))
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// alive reports whether the process of the pid file is a dockerd.
func (d daemon) alive() bool { return pidFileNames(d.pidFile, "dockerd") }

// clearStale removes what daemons that were killed left behind: pid files
// whose number is somebody else's by now, and sockets nobody listens on.
// dockerd would take the first for a running daemon and give up.
func (d daemon) clearStale() error {
	var errs []error
	containerdPid := filepath.Join(d.execRoot, "containerd", "containerd.pid")
	if !d.alive() {
		errs = append(errs, removeFile(d.pidFile), removeFile(d.socket))
	}
	if !pidFileNames(containerdPid, "containerd") {
		stale, err := filepath.Glob(filepath.Join(d.execRoot, "containerd", "containerd*.sock*"))
		errs = append(errs, err, removeFile(containerdPid))
		for _, s := range stale {
			errs = append(errs, removeFile(s))
		}
	}
	return errors.Join(errs...)
}

// pidFileNames reports whether the process whose number the file holds is one
// of the program.
func pidFileNames(file, program string) bool {
	raw, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return false
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && strings.TrimSpace(string(comm)) == program
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// makeBridge makes the bridge of a daemon that runs beside another one.
func (d daemon) makeBridge(ctx context.Context, task *progress.Task) error {
	if d.bridge == "" {
		return nil
	}
	if _, err := net.InterfaceByName(d.bridge); err == nil {
		return nil
	}
	for _, argv := range [][]string{
		{"ip", "link", "add", d.bridge, "type", "bridge"},
		{"ip", "addr", "add", "172.31.255.1/24", "dev", d.bridge},
		{"ip", "link", "set", d.bridge, "up"},
	} {
		if err := (command{argv: argv}).run(ctx, task); err != nil {
			return err
		}
	}
	return nil
}

func lastLines(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return tailLines(lines[max(0, len(lines)-8):]).indented()
}
