package testneed

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// Shapes are the forms of depends_on that large projects come in.
func Shapes() []string { return []string{"flat", "chain", "diamond"} }

// LargeProject writes a compose file of n services as people write them into a
// new directory, which it returns. In a chain each depends on the one before,
// in a diamond on both of the layer before.
func LargeProject(t testing.TB, shape string, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("name: large\nservices:\n")
	for i := range n {
		fmt.Fprintf(&b, `  service-%[1]d:
    image: registry.example.com/team/app-%[1]d:1.%[1]d
    restart: unless-stopped
    environment:
      - LOG_LEVEL=${LOG_LEVEL:-info}
      - SERVICE_NAME=service-%[1]d
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
		for at, d := range dependencies(shape, i) {
			if at == 0 {
				b.WriteString("    depends_on:\n")
			}
			fmt.Fprintf(&b, "      service-%d: {condition: service_healthy}\n", d)
		}
	}
	b.WriteString("networks: {back: {}}\nvolumes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  data-%d: {}\n", i)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "compose.yaml"), b.String())
	return dir
}

func dependencies(shape string, i int) []int {
	switch {
	case shape == "chain" && i > 0:
		return []int{i - 1}
	case shape == "diamond" && i >= 2:
		return []int{i/2*2 - 2, i/2*2 - 1}
	}
	return nil
}
