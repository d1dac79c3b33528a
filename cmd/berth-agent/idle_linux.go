package main

import (
	"context"
	"io"
)

// runIdle does nothing until it is told to end: it keeps a pod running in which
// berth starts serve.
func runIdle(ctx context.Context, _ []string, _ io.Reader, _, _ io.Writer) int {
	<-ctx.Done()
	return 0
}
