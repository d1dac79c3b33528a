package image

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	bkclient "github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/go-csvvalue"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// What BuildKit calls things.
const (
	frontend       = "dockerfile.v0" // built into BuildKit: needs no image
	localContext   = "context"
	localFile      = "dockerfile"
	hostGateway    = "host-gateway"
	hostGatewayKey = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"
)

// solveOpt says in BuildKit's terms what a spec asks for. workerLabels are
// those of the engine's worker.
func solveOpt(spec model.BuildSpec, workerLabels map[string]string) (bkclient.SolveOpt, error) {
	opt := bkclient.SolveOpt{
		Frontend: frontend, FrontendAttrs: map[string]string{}, LocalMounts: map[string]fsutil.FS{},
		// Transfers are incremental between builds that share this key.
		SharedKey: digest.FromString(spec.Context).Encoded(),
		Internal:  spec.Unrecorded,
	}
	if err := addSources(&opt, spec); err != nil {
		return opt, err
	}
	if err := addSettings(opt.FrontendAttrs, spec, workerLabels); err != nil {
		return opt, err
	}
	if err := addContexts(&opt, spec.AdditionalContexts); err != nil {
		return opt, err
	}
	var err error
	if opt.CacheImports, err = cacheEntries(spec.CacheFrom); err != nil {
		return opt, fmt.Errorf("build.cache_from: %w", err)
	}
	if opt.CacheExports, err = cacheEntries(spec.CacheTo); err != nil {
		return opt, fmt.Errorf("build.cache_to: %w", err)
	}
	opt.AllowedEntitlements = slices.Clone(spec.Entitlements)
	if spec.Privileged {
		opt.AllowedEntitlements = append(opt.AllowedEntitlements, "security.insecure")
	}
	if spec.Network == "host" {
		opt.AllowedEntitlements = append(opt.AllowedEntitlements, "network.host")
	}
	return opt, nil
}

// addSources says where the context and the Dockerfile are.
func addSources(opt *bkclient.SolveOpt, spec model.BuildSpec) error {
	file := spec.Dockerfile
	if file == "" {
		file = "Dockerfile"
	}
	remote := isRemote(spec.Context)
	if remote {
		opt.FrontendAttrs["context"] = spec.Context
	} else {
		dir, err := fsutil.NewFS(spec.Context)
		if err != nil {
			return problem.New(fmt.Sprintf("build context %q", spec.Context), err, "check build.context in the compose file")
		}
		opt.LocalMounts[localContext] = dir
	}
	if ownDockerfile(spec) {
		opt.FrontendAttrs["dockerfilekey"] = localFile // or the frontend takes that of the context
	}
	switch {
	case spec.DockerfileInline != "":
		file = "Dockerfile"
		opt.LocalMounts[localFile] = memFile{file, []byte(spec.DockerfileInline)}
	case remote && !filepath.IsAbs(file):
		// The frontend finds it in the context.
	default:
		if !filepath.IsAbs(file) {
			file = filepath.Join(spec.Context, file)
		}
		if err := dockerfileExists(file); err != nil {
			return err
		}
		dir, err := fsutil.NewFS(filepath.Dir(file))
		if err != nil {
			return fmt.Errorf("folder of the Dockerfile: %w", err)
		}
		opt.LocalMounts[localFile] = dir
		file = filepath.Base(file)
	}
	opt.FrontendAttrs["filename"] = file
	return nil
}

// ownDockerfile reports whether this machine has the Dockerfile of a context that it
// has not.
func ownDockerfile(spec model.BuildSpec) bool {
	return isRemote(spec.Context) && (spec.DockerfileInline != "" || filepath.IsAbs(spec.Dockerfile))
}

func dockerfileExists(file string) error {
	_, err := os.Stat(file)
	if err != nil && filepath.Base(file) == "Dockerfile" {
		_, err = os.Stat(filepath.Join(filepath.Dir(file), "dockerfile")) // BuildKit takes either
	}
	if err != nil {
		return problem.New(fmt.Sprintf("no Dockerfile at %q", file), nil, "add it, or set build.dockerfile in the compose file")
	}
	return nil
}

// isRemote reports whether a context is something BuildKit fetches itself.
func isRemote(context string) bool {
	for _, prefix := range []string{"http://", "https://", "git://", "ssh://", "git@", "github.com/"} {
		if strings.HasPrefix(context, prefix) {
			return true
		}
	}
	return false
}

// isGitSSH reports whether BuildKit fetches a context with the user's ssh key.
func isGitSSH(context string) bool {
	return strings.HasPrefix(context, "git@") || strings.HasPrefix(context, "ssh://")
}

// agentsOf are the agents and keys that a build is offered. A context that comes
// over ssh needs one even where the compose file names none.
func agentsOf(spec model.BuildSpec) []model.BuildSSH {
	if len(spec.SSH) > 0 {
		return spec.SSH
	}
	if isGitSSH(spec.Context) || slices.ContainsFunc(slices.Collect(maps.Values(spec.AdditionalContexts)), isGitSSH) {
		return []model.BuildSSH{{ID: "default"}}
	}
	return nil
}

func addSettings(attrs map[string]string, spec model.BuildSpec, workerLabels map[string]string) error {
	for key, value := range spec.Args {
		attrs["build-arg:"+key] = value
	}
	for key, value := range spec.Labels {
		attrs["label:"+key] = value
	}
	set := func(key, value string) {
		if value != "" {
			attrs[key] = value
		}
	}
	set("target", spec.Target)
	set("platform", strings.Join(spec.Platforms, ","))
	set("ulimit", strings.Join(spec.Ulimits, ","))
	set("no-cache", strings.Join(spec.NoCacheFilter, ","))
	set("attest:provenance", attestation(spec.Provenance))
	set("attest:sbom", attestation(spec.SBOM))
	if spec.ShmSize > 0 {
		attrs["shm-size"] = strconv.FormatInt(spec.ShmSize, 10)
	}
	if spec.NoCache {
		attrs["no-cache"] = "" // every stage
	}
	attrs["image-resolve-mode"] = "local"
	if spec.Pull {
		attrs["image-resolve-mode"] = "pull"
	}
	switch spec.Network {
	case "", "default":
	case "host", "none":
		attrs["force-network-mode"] = spec.Network
	default:
		return problem.New(fmt.Sprintf("build.network %q", spec.Network), nil,
			"BuildKit knows only \"default\", \"host\" and \"none\"")
	}
	hosts, err := extraHosts(spec.ExtraHosts, workerLabels)
	set("add-hosts", hosts)
	return err
}

// attestation is BuildKit's form of compose's provenance and sbom: a boolean
// or parameters. No attestation is the default: what runs needs none.
func attestation(value string) string {
	switch value {
	case "", "false":
		return ""
	case "true":
		return "mode=min"
	}
	return value
}

// extraHosts turns "host:ip" into BuildKit's "host=ip,...".
func extraHosts(hosts []string, workerLabels map[string]string) (string, error) {
	var out []string
	for _, h := range hosts {
		at := strings.IndexAny(h, ":=")
		if at <= 0 {
			return "", fmt.Errorf("build.extra_hosts %q is not host:ip", h)
		}
		name, ip := h[:at], strings.Trim(h[at+1:], "[]")
		if ip == hostGateway {
			if ip = workerLabels[hostGatewayKey]; ip == "" {
				return "", fmt.Errorf("build.extra_hosts %q: the engine does not tell its host-gateway address", h)
			}
		}
		out = append(out, name+"="+ip)
	}
	return strings.Join(out, ","), nil
}

// addContexts names the additional contexts: folders are sent, everything else
// BuildKit gets itself.
func addContexts(opt *bkclient.SolveOpt, contexts map[string]string) error {
	for name, value := range contexts {
		switch {
		case isRemote(value), strings.HasPrefix(value, imageContext):
			opt.FrontendAttrs["context:"+name] = value
		case strings.HasPrefix(value, "oci-layout://"):
			if err := addOCILayout(opt, name, strings.TrimPrefix(value, "oci-layout://")); err != nil {
				return err
			}
		default:
			dir, err := fsutil.NewFS(value)
			if err != nil {
				return problem.New(fmt.Sprintf("build.additional_contexts %q", name), err, "check the folder's path")
			}
			// The key must not clash with "context" and "dockerfile".
			opt.LocalMounts["extra-"+name] = dir
			opt.FrontendAttrs["context:"+name] = "local:extra-" + name
		}
	}
	return nil
}

// cacheEntries reads compose's cache_from and cache_to: key=value,... or just
// an image name.
func cacheEntries(list []string) ([]bkclient.CacheOptionsEntry, error) {
	var entries []bkclient.CacheOptionsEntry
	for _, text := range list {
		fields, err := csvvalue.Fields(text, nil)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		if len(fields) == 1 && !strings.Contains(fields[0], "=") {
			entries = append(entries, bkclient.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": text}})
			continue
		}
		e := bkclient.CacheOptionsEntry{Attrs: map[string]string{}}
		for _, field := range fields {
			key, value, ok := strings.Cut(field, "=")
			if !ok {
				return nil, fmt.Errorf("%q: %q is not key=value", text, field)
			}
			if key == "type" {
				e.Type = value
			} else {
				e.Attrs[key] = value
			}
		}
		if e.Type == "" {
			return nil, fmt.Errorf("%q has no type", text)
		}
		entries = append(entries, e)
	}
	return entries, nil
}
