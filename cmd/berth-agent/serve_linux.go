package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/berth-dev/berth/infra/agent/serve"
)

// runServe answers berth's requests on standard input and output until the
// input ends.
func runServe(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", "", "the node's root `folder`, where this process has another")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	err := enter(*root)
	if err == nil {
		err = serve.New().Run(ctx, stdin, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "berth-agent:", err)
		return 1
	}
	return 0
}

// enter makes a folder this process's root, so that all paths are those of the
// node; "" for the root it has.
func enter(root string) error {
	if root == "" {
		return nil
	}
	if err := errors.Join(syscall.Chroot(root), os.Chdir("/")); err != nil {
		return fmt.Errorf("enter the node's root %s: %w", root, err)
	}
	return nil
}
