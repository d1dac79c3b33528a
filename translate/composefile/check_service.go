package composefile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/translate"
)

// A serviceCheck checks one active service.
type serviceCheck struct {
	*reader
	project *types.Project
	service *types.ServiceConfig
	at      string // services.web
}

func (c serviceCheck) run() {
	c.source()
	c.network()
	c.health()
	c.dependencies()
	c.references()
	c.limits()
	c.watch()
	c.mounts()
}

// fail reports an error about an attribute of the service.
func (c serviceCheck) wrong(attribute, cure, format string, args ...any) {
	c.failOn(c.at+attribute, cure, format, args...)
}

// source: where the image comes from.
func (c serviceCheck) source() {
	s := c.service
	if s.Build == nil && s.Image == "" && s.Provider == nil {
		c.wrong("", "give it `image: NAME` or `build: DIRECTORY`", "it has neither an image nor a build section")
	}
	c.checkContainer(c.at, &s.ContainerSpec)
	for i := range s.PreStart {
		c.checkContainer(fmt.Sprintf("%s.pre_start[%d]", c.at, i), &s.PreStart[i].ContainerSpec)
	}
	if s.Build == nil {
		return
	}
	if s.Build.DockerfileInline != "" && s.Build.Dockerfile != "" {
		c.wrong(".build.dockerfile_inline", "keep one of them", "it goes against build.dockerfile")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Build.AdditionalContexts)) {
		target, ok := strings.CutPrefix(s.Build.AdditionalContexts[name], types.ServicePrefix)
		if !ok {
			continue
		}
		at := ".build.additional_contexts." + name
		other, known := c.project.AllServices()[target]
		switch {
		case !known:
			c.wrong(at, translate.Suggest(target, c.serviceNames()), "there is no service %q", target)
		case other.Build == nil:
			c.wrong(at, "give that service a build section, or name its image: docker-image://IMAGE", "service %q is not built", target)
		}
	}
	if len(s.Build.Platforms) > 0 && s.Platform != "" && !slices.Contains(s.Build.Platforms, s.Platform) {
		c.wrong(".build.platforms", "add it", "the platform %q, on which the service runs, is not among them", s.Platform)
	}
	for i, secret := range s.Build.Secrets {
		if _, ok := c.project.Secrets[secret.Source]; !ok {
			c.wrong(fmt.Sprintf(".build.secrets[%d]", i), undefined("secrets", secret.Source, c.project.SecretNames()), "there is no secret %q", secret.Source)
		}
	}
}

// checkContainer: images are names, and what is mounted has a source. It holds
// for services, jobs and hooks.
func (r *reader) checkContainer(at string, s *types.ContainerSpec) {
	if strings.ContainsAny(s.Image, " \t\r\n") {
		r.failOn(at+".image", "write it as NAME:TAG", "%q has blanks and is no image", s.Image)
	}
	for i, v := range s.Volumes {
		if v.Source == "" && (v.Type == types.VolumeTypeBind || v.Type == types.VolumeTypeImage) {
			r.failOn(fmt.Sprintf("%s.volumes[%d]", at, i), "add `source:`", "a volume of type %s needs a source", v.Type)
		}
	}
}

func (c serviceCheck) serviceNames() []string {
	return slices.Sorted(maps.Keys(c.project.AllServices()))
}

// undefined is the advice for a reference to nothing.
func undefined(section, name string, known []string) string {
	if meant := translate.Nearest(name, known); meant != "" {
		return fmt.Sprintf("did you mean %q?", meant)
	}
	return fmt.Sprintf("define it at the top level: %s: {%s: ...}", section, name)
}

func (c serviceCheck) network() {
	s := c.service
	if s.NetworkMode != "" && len(s.Networks) > 0 {
		c.wrong(".network_mode", "keep one of them", "it goes against `networks`")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		if _, ok := c.project.Networks[name]; !ok {
			c.wrong(".networks."+name, undefined("networks", name, c.project.NetworkNames()), "there is no network %q", name)
		}
	}
}

func (c serviceCheck) health() {
	h := c.service.HealthCheck
	if h == nil || len(h.Test) == 0 {
		return
	}
	switch h.Test[0] {
	case "CMD", "CMD-SHELL", "NONE":
	default:
		c.wrong(".healthcheck.test", "write [CMD, ...], or one text for the shell", "it must start with CMD, CMD-SHELL or NONE, not %q", h.Test[0])
	}
}

func (c serviceCheck) dependencies() {
	name := strings.TrimPrefix(c.service.NetworkMode, types.ServicePrefix)
	for _, to := range slices.Sorted(maps.Keys(c.service.DependsOn)) {
		c.checkDependency(c.project, c.at, to, c.service.DependsOn[to].Required)
	}
	if name == c.service.NetworkMode {
		return
	}
	if _, ok := c.service.DependsOn[name]; !ok { // normalised away only when the mode names nothing
		c.checkDependency(c.project, c.at, name, true)
	}
}

// references: volumes, configs, secrets and models that are mounted exist.
func (c serviceCheck) references() {
	s, p := c.service, c.project
	for i, v := range s.Volumes {
		if v.Type != types.VolumeTypeVolume || v.Source == "" {
			continue
		}
		if _, ok := p.Volumes[v.Source]; !ok {
			c.wrong(fmt.Sprintf(".volumes[%d]", i), volumeCure(v.Source, p.VolumeNames()), "there is no volume %q", v.Source)
		}
	}
	for i, x := range s.Configs {
		if _, ok := p.Configs[x.Source]; !ok {
			c.wrong(fmt.Sprintf(".configs[%d]", i), undefined("configs", x.Source, p.ConfigNames()), "there is no config %q", x.Source)
		}
	}
	for i, x := range s.Secrets {
		if _, ok := p.Secrets[x.Source]; !ok {
			c.wrong(fmt.Sprintf(".secrets[%d]", i), undefined("secrets", x.Source, p.SecretNames()), "there is no secret %q", x.Source)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Models)) {
		if _, ok := p.Models[name]; !ok {
			c.wrong(".models."+name, undefined("models", name, p.ModelNames()), "there is no model %q", name)
		}
	}
}

// volumeCure tells a forgotten volume from a path without its dot.
func volumeCure(name string, known []string) string {
	if strings.Contains(name, "/") {
		return fmt.Sprintf("write %q if you mean a directory", "./"+name)
	}
	return undefined("volumes", name, known)
}

// limits: the old and the new way to say the same must agree.
func (c serviceCheck) limits() {
	s := c.service
	if s.Scale != nil && *s.Scale < 0 {
		c.wrong(".scale", "", "%d is less than 0", *s.Scale)
	}
	if d := s.Deploy; d != nil {
		if d.Replicas != nil && *d.Replicas < 0 {
			c.wrong(".deploy.replicas", "", "%d is less than 0", *d.Replicas)
		}
		if s.Scale != nil && d.Replicas != nil && *s.Scale != *d.Replicas {
			c.differ(".scale", "deploy.replicas")
		}
		if s.Scale != nil {
			d.Replicas = s.Scale
		}
		if l := d.Resources.Limits; l != nil {
			if s.CPUS != 0 && l.NanoCPUs.Value() != s.CPUS {
				c.differ(".cpus", "deploy.resources.limits.cpus")
			}
			if s.MemLimit != 0 && l.MemoryBytes != s.MemLimit {
				c.differ(".mem_limit", "deploy.resources.limits.memory")
			}
			if s.PidsLimit != 0 && l.Pids != s.PidsLimit {
				c.differ(".pids_limit", "deploy.resources.limits.pids")
			}
		}
		if res := d.Resources.Reservations; res != nil && s.MemReservation != 0 && res.MemoryBytes != s.MemReservation {
			c.differ(".mem_reservation", "deploy.resources.reservations.memory")
		}
	}
	if s.GetScale() > 1 && s.ContainerName != "" {
		c.wrong(".container_name", "remove it", "%d containers cannot have one name", s.GetScale())
	}
}

func (c serviceCheck) differ(attribute, other string) {
	c.wrong(attribute, "keep one of them", "%s has another value", other)
}

func (c serviceCheck) watch() {
	if c.service.Develop == nil {
		return
	}
	for i, w := range c.service.Develop.Watch {
		if w.Target == "" && w.Action != types.WatchActionRebuild && w.Action != types.WatchActionRestart {
			c.wrong(fmt.Sprintf(".develop.watch[%d]", i), "add `target: DIRECTORY` in the container", "the action %q needs a target", w.Action)
		}
	}
}

// mounts: no two things are mounted in one place.
func (c serviceCheck) mounts() {
	taken := map[string]string{}
	mount := func(target, at string) {
		if other, ok := taken[target]; ok {
			c.wrong(at, "give one of them another target", "%s is mounted there already, by %s", target, strings.TrimPrefix(other, "."))
			return
		}
		taken[target] = at
	}
	for i, t := range c.service.Tmpfs {
		target, _, _ := strings.Cut(t, ":")
		mount(target, fmt.Sprintf(".tmpfs[%d]", i))
	}
	for i, v := range c.service.Volumes {
		mount(v.Target, fmt.Sprintf(".volumes[%d]", i))
	}
}
