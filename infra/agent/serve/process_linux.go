package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/infra/agent/rootfs"
	"github.com/berth-dev/berth/infra/agent/supervise"
	"github.com/berth-dev/berth/infra/agent/wire"
)

// sendSignal sends a signal to a container's first process.
func sendSignal(a wire.SignalArgs) error {
	number, err := supervise.ParseSignal(a.Signal)
	if err != nil {
		return err
	}
	pid, err := rootfs.PID(a.Container)
	if err != nil {
		return err
	}
	return unix.Kill(pid, number)
}

// processes writes the processes of a container, one a line, by number.
func processes(ctx context.Context, proc string, a wire.ProcessesArgs, r *wire.Request) error {
	if _, err := rootfs.PID(a.Container); err != nil { // which checks the id, too
		return err
	}
	list, err := processesOf(ctx, proc, a.Container)
	if err != nil {
		return err
	}
	out := json.NewEncoder(r)
	for _, p := range list {
		if err := out.Encode(p); err != nil {
			return err
		}
	}
	return nil
}

// processesOf finds the processes whose control group is the container's.
func processesOf(ctx context.Context, proc, id string) ([]wire.Process, error) {
	dirs, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	if err != nil {
		return nil, err
	}
	var list []wire.Process
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !bytes.Contains(cgroup, []byte(id)) {
			continue // of another container, or gone
		}
		p, err := readProcess(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].PID < list[j].PID })
	return list, nil
}

// clockTicks is what /proc counts time in, a second's part (USER_HZ, proc(5)).
const clockTicks = 100

// readProcess reads a process of /proc (proc(5)), with the numbers that it has
// inside its container.
func readProcess(dir string) (wire.Process, error) {
	var p wire.Process
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return p, err
	}
	for line := range strings.Lines(string(status)) {
		key, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		switch key {
		case "Uid":
			p.UID, err = strconv.Atoi(fields[1]) // the effective one
		case "NSpid":
			p.PID, err = strconv.Atoi(fields[len(fields)-1])
		}
		if err != nil {
			return p, err
		}
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return p, err
	}
	// The name in brackets may hold anything, brackets too; fields are counted from behind it.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return p, fmt.Errorf("%s/stat is %q", dir, stat)
	}
	name, fields := stat[open+1:end], strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 {
		return p, fmt.Errorf("%s/stat has %d fields", dir, len(fields))
	}
	number := func(i int) int64 {
		n, numberErr := strconv.ParseInt(fields[i], 10, 64)
		err = errors.Join(err, numberErr)
		return n
	}
	p.State = fields[0]
	p.CPU = float64(number(11)+number(12)) / clockTicks
	command, readErr := os.ReadFile(filepath.Join(dir, "cmdline"))
	p.Command = strings.ReplaceAll(strings.TrimRight(string(command), "\x00"), "\x00", " ")
	if p.Command == "" {
		p.Command = "[" + string(name) + "]"
	}
	return p, errors.Join(err, readErr)
}
