package testneed

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Berth is the program under test: BERTH_BIN, or berth built from this checkout.
func Berth(t testing.TB) string {
	t.Helper()
	if bin := os.Getenv("BERTH_BIN"); bin != "" {
		return bin
	}
	bin := filepath.Join(t.TempDir(), "berth")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "github.com/berth-dev/berth/cmd/berth").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}
