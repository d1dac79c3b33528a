package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/agent/wire"
)

// snapshots prints the keys of the committed snapshots: the chain IDs of the
// layers the node has, whether or not it still has their blobs.
func (n *Node) snapshots(ctx context.Context, out io.Writer) error {
	raw, err := n.run(ctx, nil, "snapshots", "ls")
	if err != nil {
		return err
	}
	var found bytes.Buffer
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line) // KEY PARENT KIND; PARENT is empty for the lowest
		if len(f) >= 2 && f[len(f)-1] == "Committed" {
			fmt.Fprintln(&found, f[0])
		}
	}
	_, err = out.Write(found.Bytes())
	return err
}

// images prints what images the node has.
func (n *Node) images(ctx context.Context, out io.Writer) error {
	raw, err := n.run(ctx, nil, "images", "ls")
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	encoder := json.NewEncoder(w)
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line) // REF TYPE DIGEST SIZE ...
		if len(f) < 3 || !strings.Contains(f[2], ":") {
			continue
		}
		if err := encoder.Encode(wire.Image{Name: f[0], Digest: f[2]}); err != nil {
			return err
		}
	}
	return w.Flush()
}

// importImage gives the OCI layout in tar to containerd. One platform only:
// with all of them the layers that are not sent are missed. No --digests: it would
// leave a record per import that pins every old layer for ever.
func (n *Node) importImage(ctx context.Context, args wire.ImportArgs, tar io.Reader) error {
	_, err := n.run(ctx, tar, "images", "import", "--platform", args.Platform, "-")
	return err
}

func (n *Node) tagImage(ctx context.Context, args wire.TagArgs) error {
	_, err := n.run(ctx, nil, "images", "tag", "--force", args.Source, args.Target)
	return err
}

func (n *Node) removeImages(ctx context.Context, args wire.RemoveArgs) error {
	if len(args.Names) == 0 {
		return nil
	}
	// ctr says nothing of names that it does not know.
	_, err := n.run(ctx, nil, append([]string{"images", "rm"}, args.Names...)...)
	return err
}

// run runs ctr in Kubernetes' namespace and returns its standard output. Its
// error carries what it wrote to standard error.
func (n *Node) run(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, n.ctr, append([]string{"-n", "k8s.io"}, args...)...)
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Stdin = stdin
	if err := cmd.Run(); err != nil {
		return nil, commandError(args, err, stderr.String())
	}
	return stdout.Bytes(), nil
}

func commandError(args []string, err error, stderr string) error {
	what := "ctr " + strings.Join(args[:min(2, len(args))], " ")
	message := strings.TrimSpace(stderr)
	if message == "" {
		return fmt.Errorf("%s: %w", what, err)
	}
	e := &wire.Error{Message: fmt.Sprintf("%s: %s: %s", what, err, message)}
	if strings.Contains(message, "not found") {
		e.Code = wire.CodeNotFound
	}
	return e
}
