package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/kind/pkg/log"

	"github.com/berth-dev/berth/infra/problem"
)

// Kubeconfig returns a kubeconfig for a cluster, with its one context, for use
// from this host.
func (m *Manager) Kubeconfig(ctx context.Context, name string) (string, error) {
	provider, err := m.provider(log.NoopLogger{})
	if err != nil {
		return "", err
	}
	text, err := provider.KubeConfig(name, false)
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", problem.New(fmt.Sprintf("get the kubeconfig of cluster %q", name), err, "berth cluster list")
	}
	return text, nil
}

// export puts the cluster's context into the user's kubeconfig, anew where it
// was lost.
func (m *Manager) export(ctx context.Context, name string) error {
	provider, err := m.provider(log.NoopLogger{})
	if err != nil {
		return err
	}
	if err := provider.ExportKubeConfig(name, "", false); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return problem.New(fmt.Sprintf("write the context of cluster %q to the kubeconfig", name), err, "check KUBECONFIG")
	}
	return nil
}

// tempKubeconfig writes a cluster's kubeconfig to a new file.
func (m *Manager) tempKubeconfig(ctx context.Context, name string) (path string, remove func() error, err error) {
	text, err := m.Kubeconfig(ctx, name)
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "berth-")
	if err != nil {
		return "", nil, err
	}
	remove = func() error { return os.RemoveAll(dir) }
	path = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return path, remove, nil
}
