package docker

import (
	"context"
	"io"
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// FollowLog reads the last lines of what the container writes to standard output
// and what it writes from now on, until it stops or the reader is closed.
func (c *Client) FollowLog(ctx context.Context, id string, lines int) (io.ReadCloser, error) {
	raw, err := c.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, Follow: true, Tail: strconv.Itoa(lines)})
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	go func() {
		_, err := stdcopy.StdCopy(in, io.Discard, raw)
		in.CloseWithError(err) // nil: io.EOF
	}()
	return &followedLog{PipeReader: out, raw: raw}, nil
}

type followedLog struct {
	*io.PipeReader
	raw io.Closer
}

func (l *followedLog) Close() error {
	_ = l.PipeReader.Close()
	return l.raw.Close()
}
