package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/berth-dev/berth/infra/agent/checkpoint"
)

// runCheckpoint works on the saved state of a cluster's nodes:
// checkpoint save|forget|prepare|swap|clean STORE NODE=VOLUME...
// It prints checkpoint.Message lines.
func runCheckpoint(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	if len(args) < 2 {
		fmt.Fprintln(stderr, "usage: berth-agent checkpoint save|forget|prepare|swap|clean STORE NODE=VOLUME...")
		return 2
	}
	verb, store := args[0], args[1]
	var nodes []checkpoint.Node
	for _, arg := range args[2:] {
		name, volume, _ := strings.Cut(arg, "=")
		nodes = append(nodes, checkpoint.Node{Name: name, Volume: volume})
	}
	// Nobody may listen any more; the work goes on all the same.
	say := func(m checkpoint.Message) { _ = json.NewEncoder(stdout).Encode(m) }
	var err error
	switch verb {
	case "save":
		err = checkpoint.Save(ctx, store, nodes, say)
	case "prepare":
		err = checkpoint.Prepare(ctx, store, nodes)
	case "forget":
		err = checkpoint.Forget(nodes)
	case "swap":
		err = checkpoint.Swap(nodes)
	case "clean":
		err = checkpoint.Clean(nodes)
	default:
		err = fmt.Errorf("%q is not known", verb)
	}
	if err == nil {
		say(checkpoint.Message{Phase: checkpoint.PhaseDone})
		return 0
	}
	failed := checkpoint.Message{Phase: checkpoint.PhaseFailed, Error: err.Error()}
	var space *checkpoint.SpaceError
	if errors.As(err, &space) {
		failed.Need, failed.Free = space.Need, space.Free
	}
	say(failed)
	return 1
}
