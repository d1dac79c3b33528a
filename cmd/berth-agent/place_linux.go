package main

import (
	"context"
	"fmt"
	"io"

	"github.com/berth-dev/berth/infra/agent/place"
)

// runPlace gives files of a volume their owner and mode: place SRC DST
// MODE:UID:GID:PATH...
func runPlace(_ context.Context, args []string, _ io.Reader, _, stderr io.Writer) int {
	if len(args) < 3 {
		fmt.Fprintln(stderr, "usage: berth-agent place SRC DST MODE:UID:GID:PATH...")
		return 2
	}
	var files []place.File
	for _, text := range args[2:] {
		f, err := place.Parse(text)
		if err != nil {
			fmt.Fprintln(stderr, "berth-agent:", err)
			return 2
		}
		files = append(files, f)
	}
	if err := place.Files(args[0], args[1], files); err != nil {
		fmt.Fprintln(stderr, "berth-agent: place files:", err)
		return 1
	}
	return 0
}
