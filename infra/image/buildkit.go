package image

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/containerd/errdefs"
	bkclient "github.com/moby/buildkit/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errNoBuildKit says that the engine has no BuildKit.
var errNoBuildKit = errors.New("the engine has no BuildKit")

// dialBuildKit connects to the engine's BuildKit as buildx does for the engine
// it runs on. The caller closes the client.
func (i *Images) dialBuildKit(ctx context.Context) (*bkclient.Client, error) {
	return bkclient.New(ctx, "",
		bkclient.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return i.engine.Dial(ctx, "/grpc", "h2c", nil)
		}),
		bkclient.WithSessionDialer(func(ctx context.Context, protocol string, header map[string][]string) (net.Conn, error) {
			return i.engine.Dial(ctx, "/session", protocol, header)
		}))
}

// buildkit connects and says what the worker is, which tells an engine without
// BuildKit apart. The engine is asked until it has answered once: to list its
// platforms it runs a program of each.
func (i *Images) buildkit(ctx context.Context) (*bkclient.Client, *bkclient.WorkerInfo, error) {
	c, err := i.dialBuildKit(ctx)
	if err != nil {
		return nil, nil, err
	}
	i.mu.Lock()
	worker := i.worker
	i.mu.Unlock()
	if worker != nil {
		return c, worker, nil
	}
	workers, err := c.ListWorkers(ctx)
	if err == nil && len(workers) == 0 {
		err = errNoBuildKit
	}
	if err != nil {
		closeErr := c.Close()
		if ctx.Err() == nil && noBuildKit(err) {
			return nil, nil, fmt.Errorf("%w: %w", errNoBuildKit, errors.Join(err, closeErr))
		}
		return nil, nil, errors.Join(err, closeErr)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.worker = workers[0]
	return c, i.worker, nil
}

// forgetWorker has the next build ask the engine again.
func (i *Images) forgetWorker() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.worker = nil
}

// unreachable reports whether a build failed before its first step, because
// BuildKit did not answer.
func unreachable(s *steps, err error) bool {
	return s.failed == "" && status.Code(err) == codes.Unavailable
}

// askDoctor is what to do when BuildKit does not answer.
const askDoctor = "berth doctor"

// noBuildKit tells an engine without the endpoint (podman's, very old ones)
// from one that does not answer.
func noBuildKit(err error) bool {
	if errors.Is(err, errNoBuildKit) || errdefs.IsNotFound(err) || errdefs.IsNotImplemented(err) {
		return true
	}
	if code := status.Code(err); code == codes.Unimplemented {
		return true
	}
	// A refused upgrade reaches us as gRPC's Unavailable with the answer's text.
	text := err.Error()
	return strings.Contains(text, "unable to upgrade to h2c") || strings.Contains(text, "page not found") ||
		strings.Contains(text, "Not Found")
}
