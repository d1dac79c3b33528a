package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	bkclient "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// Build builds one image in the engine, names it spec.Name and spec.Tags, and
// gives it a content tag, which is the Ref of the facts it returns: the same
// content has the same tag. Its progress is the task "build NAME".
func (i *Images) Build(ctx context.Context, spec model.BuildSpec, sink progress.Sink) (model.ImageFacts, error) {
	task := progress.Start(sink, "build "+shortName(spec), "starting")
	spec = withProxies(withLabels(spec), docker.UserConfig().ParseProxyConfig(i.engine.Host(), nil))
	facts, err := i.build(ctx, spec, task, sink)
	if err != nil {
		return model.ImageFacts{}, task.End(err, "")
	}
	task.Done(facts.Ref)
	return facts, nil
}

// shortName is how progress names a build: by its services, or by the image.
func shortName(spec model.BuildSpec) string {
	if len(spec.Services) > 0 {
		return strings.Join(spec.Services, ", ")
	}
	return spec.Name
}

// withLabels adds the labels by which berth knows its images again. A label that
// the user sets wins.
func withLabels(spec model.BuildSpec) model.BuildSpec {
	labels := map[string]string{
		model.LabelManagedBy: model.ManagedBy,
		model.LabelStandIn:   "false", // images inherit labels: on a stand-in of the offline kit it is "true"
	}
	if spec.Project != "" {
		labels[model.LabelProject] = spec.Project
	}
	if len(spec.Services) > 0 {
		labels[model.LabelService] = spec.Services[0]
	}
	for k, v := range spec.Labels {
		labels[k] = v
	}
	spec.Labels = labels
	return spec
}

// withProxies adds the proxies of the Docker config as build arguments, as docker
// does; they leave no trace in the image. An argument that the user sets wins.
func withProxies(spec model.BuildSpec, proxies map[string]*string) model.BuildSpec {
	args := map[string]string{}
	for name, value := range proxies {
		args[name] = *value
	}
	maps.Copy(args, spec.Args)
	spec.Args = args
	return spec
}

func (i *Images) build(ctx context.Context, spec model.BuildSpec, task *progress.Task, sink progress.Sink) (model.ImageFacts, error) {
	client, worker, err := i.buildkit(ctx)
	var id string
	switch {
	case errors.Is(err, errNoBuildKit):
		i.sayClassic(sink)
		id, err = i.buildClassic(ctx, spec, task)
	case err != nil:
		return model.ImageFacts{}, problem.New("reach the engine's BuildKit", err, askDoctor)
	default:
		defer client.Close()
		if err := i.canBuild(ctx, spec); err != nil {
			return model.ImageFacts{}, err
		}
		id, err = i.buildWith(ctx, client, worker, plain(spec), task)
	}
	if err != nil {
		return model.ImageFacts{}, err
	}
	facts, err := i.tagged(ctx, spec.Name, id)
	if err == nil && attested(spec) {
		_, err = i.buildWith(ctx, client, worker, onTop(spec), task)
	}
	return facts, err
}

// attested reports whether a build is to make attestations.
func attested(spec model.BuildSpec) bool {
	return attestation(spec.Provenance) != "" || attestation(spec.SBOM) != ""
}

// plain is a build without its attestations. These carry times, so that the same
// content would never be the same image: what has the content tag, and goes to
// nodes, is built without.
func plain(spec model.BuildSpec) model.BuildSpec {
	spec.Provenance, spec.SBOM = "", ""
	return spec
}

// onTop is the build that adds the attestations to what plain has built, all of
// which is in the cache: it gets the names that the user pushes.
func onTop(spec model.BuildSpec) model.BuildSpec {
	spec.NoCache, spec.NoCacheFilter, spec.Pull, spec.CacheTo = false, nil, false, nil
	return spec
}

// tagged gives a new image its content tag and describes it.
func (i *Images) tagged(ctx context.Context, name, id string) (model.ImageFacts, error) {
	img, found, err := i.engine.InspectImage(ctx, id)
	if err == nil && !found {
		// The engine may know the result only by its name.
		img, found, err = i.engine.InspectImage(ctx, name)
	}
	if err != nil {
		return model.ImageFacts{}, err
	}
	if !found {
		return model.ImageFacts{}, fmt.Errorf("the engine built image %q (%s) but does not have it", name, id)
	}
	ref := contentTag(name, img.Facts.ID)
	if err := i.engine.TagImage(ctx, img.Facts.ID, ref); err != nil {
		return model.ImageFacts{}, fmt.Errorf("tag image %q as %q: %w", name, ref, err)
	}
	img.Facts.Ref = ref
	return img.Facts, nil
}

// canBuild refuses what this engine cannot do, which BuildKit would say in words of
// its own, or not at all.
func (i *Images) canBuild(ctx context.Context, spec model.BuildSpec) error {
	if len(spec.AdditionalContexts) > 0 && !i.engine.APIAtLeast(1, 42) {
		return problem.New(fmt.Sprintf("build image %q: build.additional_contexts", spec.Name),
			errors.New("the engine's BuildKit does not know it"), "use Docker 23 or newer")
	}
	if len(spec.Platforms) < 2 && !attested(spec) {
		return nil
	}
	containerd, err := i.containerdStore(ctx)
	switch {
	case err != nil:
		return err
	case !containerd && attested(spec):
		return problem.New(fmt.Sprintf("build image %q: build.provenance, build.sbom", spec.Name),
			errors.New("the engine's image store holds no attestations"),
			"turn on its containerd image store, the default since Docker 29, or leave them out with --provenance=false --sbom=false")
	case !containerd:
		return problem.New(fmt.Sprintf("build image %q: build.platforms", spec.Name),
			errors.New("the engine's image store holds an image for one platform only"),
			"turn on its containerd image store, the default since Docker 29, or name one platform")
	}
	return nil
}

// buildWith builds with BuildKit and returns the image's ID.
func (i *Images) buildWith(ctx context.Context, client *bkclient.Client, worker *bkclient.WorkerInfo, spec model.BuildSpec, task *progress.Task) (string, error) {
	opt, err := solveOpt(spec, worker.Labels)
	if err != nil {
		return "", err
	}
	if opt.Session, err = i.attachables(spec); err != nil {
		return "", err
	}
	run := func() (map[string]string, *steps, error) {
		// Exporters serve one solve each.
		if opt.Exports, err = i.exporters(ctx, spec); err != nil {
			return nil, newSteps(task), err
		}
		return solve(ctx, client, opt, task)
	}
	i.mu.Lock()
	builtin := i.builtinSyntax
	i.mu.Unlock()
	if builtin {
		useBuiltinSyntax(opt.FrontendAttrs)
	}
	response, s, err := run()
	if err != nil && !builtin && lacksFrontend(s, err) {
		task.Log("the image that `# syntax=` names cannot be had: using BuildKit's own Dockerfile frontend")
		i.mu.Lock()
		i.builtinSyntax = true
		i.mu.Unlock()
		useBuiltinSyntax(opt.FrontendAttrs)
		response, s, err = run()
	}
	for again := 0; again < nameRaces && createdByAnother(err); again++ {
		response, s, err = run() // all is in the cache; the name is updated now
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		if unreachable(s, err) {
			i.forgetWorker()
		}
		return "", buildProblem(spec.Name, s, err)
	}
	id := response[exptypes.ExporterImageDigestKey]
	if id == "" {
		return "", fmt.Errorf("build image %q: BuildKit told no digest", spec.Name)
	}
	return id, nil
}

// solve runs one solve to its end, following its steps.
func solve(ctx context.Context, client *bkclient.Client, opt bkclient.SolveOpt, task *progress.Task) (map[string]string, *steps, error) {
	s := newSteps(task)
	messages := make(chan *bkclient.SolveStatus)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		s.follow(messages)
	}()
	response, err := client.Solve(ctx, nil, opt, messages)
	<-followed
	if err != nil {
		return nil, s, err
	}
	return response.ExporterResponse, s, nil
}

// nameRaces is how often a build is exported again because another one, of
// another program, created its name in the same moment.
const nameRaces = 5

// createdByAnother reports whether an export failed because its image's name
// did not exist when the exporter looked and did when it wrote. The engine
// tells that by text only: BuildKit passes the error on without its kind.
func createdByAnother(err error) bool {
	return err != nil && strings.HasSuffix(err.Error(), ": already exists")
}

// useBuiltinSyntax keeps the frontend from following a `# syntax=` line.
func useBuiltinSyntax(attrs map[string]string) { attrs["cmdline"] = frontend }

// lacksFrontend reports whether a solve failed for want of the image that a
// `# syntax=` line names.
func lacksFrontend(s *steps, err error) bool {
	return strings.HasPrefix(missingBase(s, err), "docker/dockerfile") // docker/dockerfile-upstream too
}

// exporters says where the result goes: into the engine's image store. Nodes get
// the layers that they lack from there: a second exporter in the same solve takes
// longer than both in turn, since each waits for the other's blobs.
func (i *Images) exporters(ctx context.Context, spec model.BuildSpec) ([]bkclient.ExportEntry, error) {
	names, err := fullNames(append([]string{spec.Name}, spec.Tags...))
	if err != nil {
		return nil, err
	}
	toEngine := bkclient.ExportEntry{Type: "moby", Attrs: map[string]string{"name": strings.Join(names, ",")}}
	containerd, err := i.containerdStore(ctx)
	if err != nil {
		return nil, err
	}
	if containerd {
		// Layers stay as they are: compressing them costs more than any pipe on
		// this machine saves. OCI types make this and the layout's manifests the same.
		toEngine.Attrs["compression"] = "uncompressed"
		toEngine.Attrs["oci-mediatypes"] = "true"
	}
	return []bkclient.ExportEntry{toEngine}, nil
}

// fullNames is the full form of names, without repeats.
func fullNames(names []string) ([]string, error) {
	var full []string
	seen := map[string]bool{}
	for _, n := range names {
		f, err := FullName(n)
		if err != nil {
			return nil, err
		}
		if !seen[f] {
			seen[f] = true
			full = append(full, f)
		}
	}
	return full, nil
}
