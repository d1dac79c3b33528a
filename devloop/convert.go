package devloop

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/translate"
)

// BuildSpec returns what the build of img, an image of the translation of in,
// needs. facts are the images built so far, by translate.Image.Ref: an
// additional context service:NAME becomes the image of that service.
func BuildSpec(in translate.Input, img translate.Image, images []translate.Image, facts map[string]model.ImageFacts) (model.BuildSpec, error) {
	b := img.Build
	spec := model.BuildSpec{
		Name: img.Ref, Project: in.Project.Name, Services: img.Services,
		Context: b.Context, Dockerfile: b.Dockerfile, DockerfileInline: b.DockerfileInline, Target: b.Target,
		Args: map[string]string{}, Labels: b.Labels, Tags: b.Tags, Platforms: b.Platforms, Network: b.Network,
		ExtraHosts: b.ExtraHosts.AsList(":"), CacheFrom: b.CacheFrom, CacheTo: b.CacheTo,
		ShmSize: int64(b.ShmSize), Isolation: b.Isolation, Privileged: b.Privileged, Entitlements: b.Entitlements,
		NoCache: b.NoCache, NoCacheFilter: b.NoCacheFilter, Pull: b.Pull, Provenance: b.Provenance, SBOM: b.SBOM,
	}
	sort.Strings(spec.ExtraHosts)
	switch {
	case img.Platform == "":
	case len(spec.Platforms) == 0:
		spec.Platforms = []string{img.Platform}
	case !slices.Contains(spec.Platforms, img.Platform): // compose-go refuses a service's own that is not among them
		return spec, problem.New(fmt.Sprintf("build image %q for %s=%s", img.Ref, translate.DefaultPlatformKey, img.Platform),
			fmt.Errorf("its build.platforms are %s", strings.Join(spec.Platforms, ", ")), "add the platform, or unset the variable")
	}
	for name, value := range b.Args {
		if value != nil { // an argument without a value that the environment does not set is not passed
			spec.Args[name] = *value
		}
	}
	for _, key := range b.SSH {
		spec.SSH = append(spec.SSH, model.BuildSSH{ID: key.ID, Path: key.Path})
	}
	for _, name := range sortedKeys(b.Ulimits) {
		spec.Ulimits = append(spec.Ulimits, ulimit(name, b.Ulimits[name].Single, b.Ulimits[name].Soft, b.Ulimits[name].Hard))
	}
	for _, s := range b.Secrets {
		secret, err := buildSecret(in.Project, s)
		if err != nil {
			return spec, fmt.Errorf("build of image %q: %w", img.Ref, err)
		}
		spec.Secrets = append(spec.Secrets, secret)
	}
	var err error
	spec.AdditionalContexts, err = additionalContexts(img, images, facts)
	return spec, err
}

// buildSecret finds where a secret of a build comes from. Variables are those of
// the project, .env included; one that is not set is empty, as in docker compose.
func buildSecret(p *types.Project, s types.ServiceSecretConfig) (model.BuildSecret, error) {
	secret := model.BuildSecret{ID: s.Target}
	if secret.ID == "" {
		secret.ID = s.Source
	}
	source, ok := p.Secrets[s.Source]
	switch {
	case !ok:
		return secret, fmt.Errorf("the project has no secret %q", s.Source)
	case source.File != "":
		secret.File = source.File
	case source.Environment != "":
		secret.Value = p.Environment[source.Environment]
	default:
		return secret, problem.New(fmt.Sprintf("secret %q", s.Source), errors.New("it is external, and a build can only be given what this machine has"),
			"give it `file` or `environment`")
	}
	return secret, nil
}

// runPlatforms are the platforms to build an image for that is to run now. Of
// several in build.platforms, which `berth build` builds, only the service's is
// wanted, or none in particular: then the cluster's are.
func runPlatforms(img translate.Image) []string {
	switch {
	case img.Platform != "":
		return []string{img.Platform}
	case len(img.Build.Platforms) > 1:
		return nil
	}
	return img.Build.Platforms
}

// names are those of a translation that a cluster's DNS is to know.
func names(result translate.Result) []model.Name {
	var out []model.Name
	for _, n := range result.Names {
		if n.FQDN != "" {
			out = append(out, model.Name{FQDN: n.FQDN, KubeService: n.KubeService})
		}
	}
	return out
}

func ulimit(name string, single, soft, hard int) string {
	if single != 0 {
		soft, hard = single, single
	}
	return fmt.Sprintf("%s=%d:%d", name, soft, hard)
}

// additionalContexts resolves service:NAME to the image of that service.
func additionalContexts(img translate.Image, images []translate.Image, facts map[string]model.ImageFacts) (map[string]string, error) {
	contexts := map[string]string{}
	for name, value := range img.Build.AdditionalContexts {
		service, ok := strings.CutPrefix(value, "service:")
		if !ok {
			contexts[name] = value
			continue
		}
		i := slices.IndexFunc(images, func(other translate.Image) bool { return slices.Contains(other.Services, service) })
		if i < 0 {
			return nil, fmt.Errorf("build of image %q: additional context %q names service %q, which the project does not have", img.Ref, name, service)
		}
		f, built := facts[images[i].Ref]
		if !built {
			return nil, fmt.Errorf("build of image %q: the image of service %q is not built yet", img.Ref, service)
		}
		contexts[name] = "docker-image://" + f.Ref
	}
	return contexts, nil
}

// TranslateFacts converts what the engine knows to what translate wants.
func TranslateFacts(f model.ImageFacts) translate.ImageFacts {
	t := translate.ImageFacts{
		Ref: f.Ref, ID: f.ID, OS: f.OS, Arch: f.Arch, Entrypoint: f.Entrypoint, Cmd: f.Cmd, Env: f.Env, User: f.User,
		WorkingDir: f.WorkingDir, Shell: f.Shell, StopSignal: f.StopSignal, Ports: f.Ports, Volumes: f.Volumes,
		Labels: f.Labels, Groups: f.Groups,
	}
	if f.Health != nil {
		health := translate.Health(*f.Health)
		t.Health = &health
	}
	if f.Passwd != nil {
		t.Passwd = make(map[string]translate.UserIDs, len(f.Passwd))
		for name, ids := range f.Passwd {
			t.Passwd[name] = translate.UserIDs(ids)
		}
	}
	return t
}

// objects converts translate's objects to the model's.
func objects(list []translate.Object) []model.Object {
	out := make([]model.Object, len(list))
	for i, o := range list {
		out[i] = o
	}
	return out
}

// keyOf returns the key of an object that carries its kind, as those of
// translate do.
func keyOf(o model.Object) model.ObjectKey {
	gvk := o.GetObjectKind().GroupVersionKind()
	return model.ObjectKey{Group: gvk.Group, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}
