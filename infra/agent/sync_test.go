package agent

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/model"
)

func TestFilesThatCannotBeReadAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	socket, err := net.Listen("unix", filepath.Join(dir, "a.sock"))
	if err != nil {
		t.Skip(err)
	}
	defer socket.Close()
	if err := os.WriteFile(filepath.Join(dir, "b.txt"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	var files []model.FileSync
	for _, name := range []string{"a.sock", "vanished", "b.txt", "a.sock"} {
		files = append(files, model.FileSync{Source: filepath.Join(dir, name), Target: "/" + name, Op: model.FileWritten})
	}
	var sent bytes.Buffer
	left := &model.Unreadable{}
	if err := sendFiles(&sent, files, left); err != nil {
		t.Fatal(err)
	}
	if len(left.Reasons) != 1 || !strings.Contains(left.Error(), "a.sock") || !strings.Contains(sent.String(), "content") || strings.Contains(sent.String(), "sock") {
		t.Errorf("left out %v, sent %q", left.Reasons, sent.String())
	}
}
