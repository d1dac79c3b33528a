package main

import (
	"context"
	"fmt"
	"io"

	"github.com/berth-dev/berth/infra/agent/volume"
)

// runCopyVolume fills a volume from the image it runs in: copy-volume SRC DST.
func runCopyVolume(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	if len(args) != 2 {
		fmt.Fprintln(stderr, "usage: berth-agent copy-volume SRC DST")
		return 2
	}
	src, dst := args[0], args[1]
	result, err := volume.Copy(ctx, src, dst)
	if err != nil {
		fmt.Fprintf(stderr, "berth-agent: copy %s into its volume: %v\n", src, err)
		return 1
	}
	for _, w := range result.Warnings {
		fmt.Fprintln(stderr, "berth-agent:", w)
	}
	if result.Copied {
		fmt.Fprintf(stdout, "copied %d entries, %d bytes, from %s\n", result.Entries, result.Bytes, src)
	} else {
		fmt.Fprintf(stdout, "copied nothing from %s: %s\n", src, result.Reason)
	}
	return 0
}
