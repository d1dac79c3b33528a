package composefile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shapes are the dependency graphs that benchmarks and tests use.
var shapes = []string{"flat", "chain", "diamond"}

// shaped writes a compose file of n realistic services into a new directory,
// which it returns. In a chain each service depends on the one before it; in a
// diamond on the two of the layer before it.
func shaped(t testing.TB, shape string, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("name: shaped\nservices:\n")
	for i := range n {
		fmt.Fprintf(&b, `  s%05[1]d:
    image: registry.example.com/team/app-%[1]d:1.%[1]d
    restart: unless-stopped
    environment:
      - LOG_LEVEL=${LOG_LEVEL:-info}
      - SERVICE_NAME=s%05[1]d
      - DATABASE_URL=postgres://user:pass@db:5432/app
    ports: ["%[2]d:8080"]
    volumes:
      - data-%[1]d:/var/lib/data
    labels:
      com.example.team: platform
    healthcheck:
      test: ["CMD", "wget", "-qO-", "http://localhost:8080/health"]
      interval: 10s
    deploy:
      resources:
        limits: {cpus: "0.5", memory: 128M}
    networks: [back]
`, i, 10000+i)
		var after []int
		switch {
		case shape == "chain" && i > 0:
			after = []int{i - 1}
		case shape == "diamond" && i >= 2:
			layer := i / 2 * 2
			after = []int{layer - 2, layer - 1}
		}
		if len(after) > 0 {
			b.WriteString("    depends_on:\n")
			for _, a := range after {
				fmt.Fprintf(&b, "      s%05d: {condition: service_healthy}\n", a)
			}
		}
	}
	b.WriteString("networks: {back: {}}\nvolumes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  data-%d: {}\n", i)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func BenchmarkRead(b *testing.B) {
	for _, shape := range shapes {
		for _, n := range []int{10, 100, 1000, 5000} {
			b.Run(fmt.Sprintf("%s/%d", shape, n), func(b *testing.B) {
				dir := shaped(b, shape, n)
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := Read(b.Context(), Options{Dir: dir}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
