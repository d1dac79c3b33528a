package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/infra/ingress"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/progress"
)

// BenchmarkCreateAgainstKind compares the creation of a cluster of three nodes,
// until its ingress serves, with `kind create cluster` followed by waiting with
// kubectl for nodes, DNS and storage: the same configuration and image, in
// turn. It takes minutes, so it runs only where BERTH_BENCH_CLUSTER is set.
//
//	BERTH_BENCH_CLUSTER=1 go test -run '^$' -bench CreateAgainstKind -benchtime 5x -timeout 30m ./infra/cluster
func BenchmarkCreateAgainstKind(b *testing.B) {
	if os.Getenv("BERTH_BENCH_CLUSTER") == "" {
		b.Skip("takes minutes: set BERTH_BENCH_CLUSTER")
	}
	m, image := fixture(b)
	kind := filepath.Join(b.TempDir(), "kind")
	run(b, "go", "build", "-o", kind, "sigs.k8s.io/kind")
	var berths, kinds []time.Duration
	for b.Loop() {
		kinds = append(kinds, timeKind(b, m, kind, image))
		berths = append(berths, timeBerth(b, m, image))
	}
	berth, plain := median(berths), median(kinds)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(berth.Seconds(), "berth-s")
	b.ReportMetric(plain.Seconds(), "kind-s")
	b.ReportMetric(berth.Seconds()/plain.Seconds(), "ratio")
	b.Logf("berth %v, kind %v", berths, kinds)
}

// benchSpec is what both create.
func benchSpec(image string) Spec {
	return Spec{Name: "berth-bench", ControlPlanes: 1, Workers: new(2), NodeImage: image, HTTPPort: 18480, HTTPSPort: 18443}
}

func timeBerth(b *testing.B, m *Manager, image string) time.Duration {
	spec := benchSpec(image)
	removed(b, m, spec.Name)
	start := time.Now()
	_, err := m.Create(b.Context(), spec, progress.Discard, func(ctx context.Context, t Target) error {
		controller, err := ingress.Choose(ctx, m.engine, ingress.Auto, t.NodeImage)
		if err != nil {
			return err
		}
		client, err := kube.New(t.Kubeconfig, t.Context)
		if err != nil {
			return err
		}
		return ingress.Install(ctx, client, controller, t.HTTPPort, progress.Discard)
	})
	took := time.Since(start)
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Delete(b.Context(), spec.Name, progress.Discard); err != nil {
		b.Fatal(err)
	}
	return took
}

func timeKind(b *testing.B, m *Manager, kind, image string) time.Duration {
	spec := benchSpec(image)
	removed(b, m, spec.Name)
	text, err := m.engine.ReadImageFile(b.Context(), image, versionFile)
	if err != nil {
		b.Fatal(err)
	}
	v, err := parseVersion(string(text))
	if err != nil {
		b.Fatal(err)
	}
	config := writeKindConfig(b, m, spec, v)
	start := time.Now()
	run(b, kind, "create", "cluster", "--name", spec.Name, "--config", config)
	wait := []string{"--context", Context(spec.Name), "--timeout", "240s"}
	run(b, "kubectl", append([]string{"wait", "--for=condition=Ready", "nodes", "--all"}, wait...)...)
	run(b, "kubectl", append([]string{"rollout", "status", "deployment/coredns", "-n", "kube-system"}, wait...)...)
	run(b, "kubectl", append([]string{"rollout", "status", "deployment/local-path-provisioner", "-n", "local-path-storage"}, wait...)...)
	took := time.Since(start)
	run(b, kind, "delete", "cluster", "--name", spec.Name)
	return took
}

func writeKindConfig(b *testing.B, m *Manager, spec Spec, v *version.Version) string {
	host, err := m.engine.HostFacts(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	config, err := kindConfig(spec, v, hostFacts{cgroupV1: host.CgroupV1, noSysResource: !host.SysResource})
	if err != nil {
		b.Fatal(err)
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "kind.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func run(b *testing.B, program string, args ...string) {
	b.Helper()
	if out, err := exec.CommandContext(b.Context(), program, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
