package main

import (
	"context"
	"fmt"
	"io"

	"github.com/berth-dev/berth/infra/agent/serve"
)

// runServe answers berth's requests on standard input and output until the
// input ends.
func runServe(ctx context.Context, _ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if err := serve.New().Run(ctx, stdin, stdout); err != nil {
		fmt.Fprintln(stderr, "berth-agent:", err)
		return 1
	}
	return 0
}
