package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/cli/cli/config"
)

func TestPullSecretHoldsTheRegistriesAskedForAndNoOthers(t *testing.T) {
	useConfig(t, `{"auths": {
		"https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="},
		"one.example": {"auth": "bWU6cGFzcw=="},
		"other.example": {"auth": "bWU6b3RoZXI="},
		"token.example": {"identitytoken": "t"}}}`)
	secret, found, err := PullSecret([]string{"one.example", "docker.io", "public.example", "one.example"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"auths":{"https://index.docker.io/v1/":{"username":"hub","password":"secret","auth":"aHViOnNlY3JldA=="},` +
		`"one.example":{"username":"me","password":"pass","auth":"bWU6cGFzcw=="}}}`
	if string(secret) != want {
		t.Errorf("secret is\n%s\nwant\n%s", secret, want)
	}
	if got := strings.Join(found, " "); got != "docker.io one.example" {
		t.Errorf("found are %s", got)
	}
	if secret, found, err := PullSecret([]string{"public.example"}); secret != nil || found != nil || err != nil {
		t.Errorf("without credentials: %s %v %v", secret, found, err)
	}
	if _, _, err := PullSecret([]string{"token.example"}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("of a token: %v", err)
	}
}

// useConfig makes text the Docker config.
func useConfig(t *testing.T, text string) {
	t.Helper()
	dir, before := t.TempDir(), config.Dir()
	if err := os.WriteFile(filepath.Join(dir, config.ConfigFileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config.SetDir(dir)
	t.Cleanup(func() { config.SetDir(before) })
}
