package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/berth-dev/berth/infra/agent/wire"
)

// Node is the machine that requests are carried out on.
type Node struct{}

// New returns the machine this process runs on.
func New() *Node { return &Node{} }

// Run answers the requests on in until it ends.
func (n *Node) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	binary, err := ownHash()
	if err != nil {
		return err
	}
	return wire.Serve(ctx, in, out, wire.Hello{Binary: binary, Arch: runtime.GOARCH}, n.handle)
}

func ownHash() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (n *Node) handle(ctx context.Context, r *wire.Request) (any, error) {
	switch r.Op {
	case wire.OpPing:
		return nil, nil
	case wire.OpSync:
		return answer(r, func(a wire.SyncArgs) (any, error) { return syncFiles(a.Container, r) })
	case wire.OpSupervisor:
		return answer(r, func(a wire.SupervisorArgs) (any, error) { return askSupervisor(ctx, a) })
	case wire.OpSignal:
		return with(r, sendSignal)
	case wire.OpProcesses:
		return with(r, func(a wire.ProcessesArgs) error { return processes(ctx, "/proc", a, r) })
	case wire.OpStat:
		return answer(r, func(a wire.StatArgs) (any, error) { return stat(a) })
	case wire.OpArchive:
		return with(r, func(a wire.ArchiveArgs) error { return archive(a, r) })
	case wire.OpExtract:
		return answer(r, func(a wire.ExtractArgs) (any, error) { return extract(a, r) })
	case wire.OpPorts:
		return answer(r, func(a wire.PortsArgs) (any, error) { return portsOf(a.Container) })
	case wire.OpSuccessor:
		return answer(r, func(a wire.SuccessorArgs) (any, error) { return awaitSuccessor(ctx, containerLogs, a) })
	case wire.OpLogs:
		return with(r, func(a wire.LogsArgs) error { return readLog(ctx, podLogs, a, r, r) })
	}
	return nil, &wire.Error{Code: wire.CodeUnknown, Message: fmt.Sprintf("the agent knows no operation %q", r.Op)}
}

// answer decodes a request's arguments for f.
func answer[A any](r *wire.Request, f func(A) (any, error)) (any, error) {
	var args A
	if err := r.Args(&args); err != nil {
		return nil, err
	}
	return f(args)
}

// with is answer without a value.
func with[A any](r *wire.Request, f func(A) error) (any, error) {
	return answer(r, func(a A) (any, error) { return nil, f(a) })
}
