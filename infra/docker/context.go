package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/tlsconfig"

	"github.com/berth-dev/berth/infra/problem"
)

// defaultContext is the docker CLI's name for DOCKER_HOST or the default socket.
const defaultContext = "default"

// environment says which engine the docker CLI would talk to: that of
// DOCKER_HOST, else of the context that DOCKER_CONTEXT names, else of the one
// that `docker context use` chose, else the one at the default socket.
func environment() ([]client.Opt, error) {
	if host := os.Getenv(client.EnvOverrideHost); host != "" {
		if opts, err := throughCommand(host); opts != nil || err != nil {
			return opts, err
		}
		return []client.Opt{client.FromEnv}, nil
	}
	name := os.Getenv("DOCKER_CONTEXT")
	if name == "" {
		name = UserConfig().CurrentContext
	}
	if name == "" || name == defaultContext {
		return []client.Opt{client.FromEnv}, nil
	}
	opts, err := contextOptions(filepath.Join(config.Dir(), "contexts"), name)
	if err != nil {
		return nil, problem.New(fmt.Sprintf("use the engine of the docker context %q", name), err, "`docker context ls` lists them, `docker context use` chooses one")
	}
	return opts, nil
}

// commandHost is how the docker CLI's library calls every engine that is reached
// through a command.
const commandHost = "http://docker.example.com"

// throughCommand connects to ssh://user@host by running ssh, as the docker CLI
// does; nil for other addresses.
func throughCommand(host string) ([]client.Opt, error) {
	helper, err := connhelper.GetConnectionHelper(host)
	if helper == nil || err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: helper.Dialer}
	return []client.Opt{
		client.WithHTTPClient(&http.Client{Transport: transport}),
		client.WithHost(helper.Host), client.WithDialContext(helper.Dialer), client.WithVersionFromEnv(),
	}, nil
}

// contextOptions reads a context from the docker CLI's store: meta/ID/meta.json
// and tls/ID/docker/*.pem, where ID is the SHA-256 of the name in hex
// (github.com/docker/cli, cli/context/store).
func contextOptions(store, name string) ([]client.Opt, error) {
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	raw, err := os.ReadFile(filepath.Join(store, "meta", id, "meta.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is no such context")
	}
	if err != nil {
		return nil, err
	}
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, fmt.Errorf("its metadata: %w", err)
	}
	endpoint, ok := meta.Endpoints["docker"]
	if !ok || endpoint.Host == "" {
		return nil, errors.New("it names no Docker Engine")
	}
	if opts, err := throughCommand(endpoint.Host); opts != nil || err != nil {
		return opts, err
	}
	u, err := client.ParseHostURL(endpoint.Host)
	if err != nil {
		return nil, err
	}
	opts := []client.Opt{client.WithVersionFromEnv()}
	if u.Scheme == "tcp" {
		https, err := contextTLS(filepath.Join(store, "tls", id, "docker"), endpoint.SkipTLSVerify)
		if err != nil {
			return nil, err
		}
		if https != nil {
			opts = append(opts, client.WithHTTPClient(https))
		}
	}
	return append(opts, client.WithHost(endpoint.Host)), nil
}

// contextTLS is an HTTP client with a context's certificates; nil when it has
// none and skips no check: then the engine is spoken to without TLS.
func contextTLS(dir string, skipVerify bool) (*http.Client, error) {
	options := tlsconfig.Options{InsecureSkipVerify: skipVerify, ExclusiveRootPools: true}
	used := skipVerify
	for name, field := range map[string]*string{"ca.pem": &options.CAFile, "cert.pem": &options.CertFile, "key.pem": &options.KeyFile} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			*field, used = path, true
		}
	}
	if !used {
		return nil, nil
	}
	tls, err := tlsconfig.Client(options)
	if err != nil {
		return nil, fmt.Errorf("its certificates: %w", err)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: tls}, CheckRedirect: client.CheckRedirect}, nil
}
