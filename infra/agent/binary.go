package agent

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/berth-dev/berth/infra/problem"
)

// Dir is the folder of a node (and of a gateway container) that holds the
// agent's binary, Name its file there. Pods mount them to be filled or supervised.
const (
	Dir  = "/usr/local/lib/berth"
	Name = "agent"
	Path = Dir + "/" + Name
)

//go:embed bin
var binaries embed.FS

// Binary returns the agent for Linux on a Go architecture (amd64, arm64). It
// fails with a Problem when this berth was built without it.
func Binary(arch string) ([]byte, error) {
	data, err := binaries.ReadFile("bin/berth-agent-linux-" + arch)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New(fmt.Sprintf("use the node agent for linux/%s", arch),
			errors.New("this berth was built without it"),
			"in a clone of berth run `make build`, or take a released berth; `go install` alone does not build the agent")
	}
	return data, err
}

// Hash is the SHA-256 of the agent for an architecture, in hex.
func Hash(arch string) (string, error) {
	binary, err := Binary(arch)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(binary)
	return hex.EncodeToString(sum[:]), nil
}
