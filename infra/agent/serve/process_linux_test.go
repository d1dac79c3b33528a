package serve

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-dev/berth/infra/agent/wire"
)

func TestProcessMayHaveAnyName(t *testing.T) {
	for name, stat := range map[string]string{
		"plain":             "7 (plain) S",
		"with ) and (":      "7 (with ) and () S",
		`") 9 9 9" (in) 9 `: `7 (") 9 9 9" (in) 9 ) S`,
	} {
		dir := t.TempDir()
		err := errors.Join(
			os.WriteFile(filepath.Join(dir, "status"), []byte("Uid:\t0\t33\t0\t0\nNSpid:\t700\t7\n"), 0o644),
			os.WriteFile(filepath.Join(dir, "stat"), []byte(stat+" 1 7 7 0 -1 4194560 0 0 0 0 120 30 0 0 20 0 1 0 5 0 0\n"), 0o644),
			os.WriteFile(filepath.Join(dir, "cmdline"), nil, 0o644))
		if err != nil {
			t.Fatal(err)
		}
		p, err := readProcess(dir)
		if want := (wire.Process{PID: 7, UID: 33, State: "S", CPU: 1.5, Command: "[" + name + "]"}); err != nil || p != want {
			t.Errorf("%q: %+v, %v, want %+v", name, p, err, want)
		}
	}
}
