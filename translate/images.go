package translate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// images lists the images of the project, one entry for a reference, sorted.
// A hook's image is one of them.
func (t *translator) images() []Image {
	byRef := map[string]*Image{}
	add := func(ref, service, policy, platform string, build *types.BuildConfig) {
		if ref == "" {
			return
		}
		i := byRef[ref]
		if i == nil {
			i = &Image{Ref: ref, PullPolicy: policy, Platform: platform}
			byRef[ref] = i
		}
		switch {
		case i.Build == nil && build != nil: // whoever builds it says how it comes about
			i.Build, i.PullPolicy = build, policy
		case (i.Build == nil || build != nil) && asksAfter(policy) < asksAfter(i.PullPolicy):
			i.PullPolicy = policy
		}
		i.addPullSecrets(t.hints.ImagePullSecrets)
		if u := t.services[service]; u != nil {
			i.addPullSecrets(u.hints.ImagePullSecrets)
		}
		if n := len(i.Services); n == 0 || i.Services[n-1] != service {
			i.Services = append(i.Services, service)
		}
	}
	needsUsers := func(ref string, always bool, users ...string) {
		if i := byRef[ref]; i != nil {
			i.Users = i.Users || always || slices.ContainsFunc(users, standsInImage)
		}
	}
	for _, u := range t.units {
		if u.svc.Provider != nil || u.hints.ServiceType == "ExternalName" {
			continue
		}
		add(u.image, u.name, u.svc.PullPolicy, t.imagePlatform(u.svc.Platform), u.svc.Build)
		needsUsers(u.image, t.writesClaims(u), append([]string{u.svc.User}, u.svc.GroupAdd...)...)
		for i := range u.svc.PreStart {
			hook := &u.svc.PreStart[i]
			if hook.Image != "" || hook.PullPolicy != "" { // else the service's own image, as the service wants it
				add(hookImage(u, hook), u.name, hook.PullPolicy, t.imagePlatform(hook.Platform), nil)
			}
			needsUsers(hookImage(u, hook), false, hook.User)
		}
		for _, v := range u.svc.Volumes {
			if v.Type == types.VolumeTypeImage {
				add(v.Source, u.name, "", t.imagePlatform(""), nil)
			}
		}
	}
	out := make([]Image, 0, len(byRef))
	for _, ref := range sortedKeys(byRef) {
		sort.Strings(byRef[ref].Services)
		out = append(out, *byRef[ref])
	}
	return out
}

// standsInImage reports whether a user, a group or both (user:group) are given by
// a name whose id only the image knows.
func standsInImage(names string) bool {
	return slices.ContainsFunc(strings.Split(names, ":"), func(name string) bool {
		_, err := strconv.ParseInt(name, 10, 64)
		return err != nil && name != "" && name != "root"
	})
}

// writesClaims reports whether the image's own user, who may have a name, is to
// write volumes that letWrite makes writable.
func (t *translator) writesClaims(u *unit) bool {
	return !t.owned() && u.svc.User == "" && slices.ContainsFunc(u.svc.Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Type == types.VolumeTypeVolume && !v.ReadOnly
	})
}

// DefaultPlatformKey is docker's variable for the platform of images that are built
// and pulled for services that name none.
const DefaultPlatformKey = "DOCKER_DEFAULT_PLATFORM"

// imagePlatform is the platform that an image is built or pulled for, by what the
// service says.
func (t *translator) imagePlatform(own string) string {
	return cmp.Or(own, t.project.Environment[DefaultPlatformKey])
}

// asksAfter is how old a copy of an image must be for a pull policy to ask its
// registry again. Of services that share an image the strictest has its way, as
// in docker compose, where each pulls for itself.
func asksAfter(policy string) time.Duration {
	kind, interval, err := types.ServiceConfig{ContainerSpec: types.ContainerSpec{PullPolicy: policy}}.GetPullPolicy()
	switch {
	case err != nil: // reported where the image is pulled
		return 0
	case kind == types.PullPolicyAlways, kind == types.PullPolicyRefresh:
		return interval
	case kind == types.PullPolicyNever, kind == types.PullPolicyBuild:
		return math.MaxInt64
	}
	return math.MaxInt64 - 1 // only one that is missing
}

// hookImage is the image of a pre_start hook, the service's own by default.
func hookImage(u *unit, hook *types.PreStartHook) string {
	if hook.Image == "" {
		return u.image
	}
	return hook.Image
}

// podImage is the reference that a container of the image uses: what was
// loaded when that is known.
func podImage(s scope) string {
	if s.facts != nil && s.facts.Ref != "" {
		return s.facts.Ref
	}
	return s.image
}

// pullPolicy is Kubernetes' pull policy. On an owned cluster images are pulled
// by the engine and loaded into the nodes, so the kubelet must not try.
func (t *translator) pullPolicy(s scope) corev1.PullPolicy {
	policy := s.spec.PullPolicy
	path := s.path + ".pull_policy"
	if t.target.Pushed && podImage(s) != s.image && (policy == types.PullPolicyNever || policy == types.PullPolicyBuild) {
		t.report.exact(path, "the engine's copy is pushed to the registry that the nodes pull from")
		return corev1.PullIfNotPresent
	}
	switch policy {
	case "", types.PullPolicyMissing, types.PullPolicyIfNotPresent:
		return corev1.PullIfNotPresent
	case types.PullPolicyNever:
		return corev1.PullNever
	}
	if t.owned() {
		t.report.exact(path, "the engine's copy is refreshed as asked and loaded into the nodes; the kubelet never pulls")
		return corev1.PullIfNotPresent
	}
	switch policy {
	case types.PullPolicyAlways:
		return corev1.PullAlways
	case types.PullPolicyBuild:
		t.report.approximated(path, "the image is pulled if a node lacks it; building is no task of a manifest", "berth build and berth push before applying")
		return corev1.PullIfNotPresent
	}
	t.report.approximated(path, "imagePullPolicy Always: the registry is asked at every start of a pod", "")
	return corev1.PullAlways
}

// nodeSelector returns the node labels that `platform` asks for.
func (t *translator) nodeSelector(u *unit) map[string]string {
	if u.svc.Platform == "" {
		return nil
	}
	parts := strings.Split(u.svc.Platform, "/")
	selector := map[string]string{}
	if len(parts) == 1 {
		if parts[0] == "linux" || parts[0] == "windows" {
			return map[string]string{"kubernetes.io/os": parts[0]}
		}
		parts = []string{"linux", parts[0]}
	}
	selector["kubernetes.io/os"], selector["kubernetes.io/arch"] = LabelValue(parts[0]), LabelValue(architecture(parts[1]))
	done := "runs on " + parts[0] + "/" + architecture(parts[1]) + " nodes only"
	if len(parts) > 2 {
		t.report.approximated(u.path+".platform", done+fmt.Sprintf("; nodes do not say their variant, %q", parts[2]), "")
	} else if t.owned() {
		t.report.approximated(u.path+".platform", done, "berth doctor says which platforms the nodes have")
	}
	return selector
}

// architecture returns Kubernetes' name of an architecture.
func architecture(name string) string {
	switch name {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "armhf", "armel":
		return "arm"
	case "i386":
		return "386"
	}
	return name
}
