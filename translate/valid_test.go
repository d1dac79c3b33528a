package translate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/berth-dev/berth/translate"
)

// validator collects what an API server would refuse, and what would not work
// although it is accepted.
type validator struct {
	faults   []string
	claims   map[string]bool
	configs  map[string]map[string]bool // ConfigMap -> its keys
	secrets  map[string]map[string]bool
	services map[string]*corev1.Service
	pods     []corev1.PodTemplateSpec
	external map[string]bool // names that must exist in the cluster
}

// faults returns what is wrong with a result.
func faults(r translate.Result) []string {
	v := &validator{
		claims: map[string]bool{}, configs: map[string]map[string]bool{}, secrets: map[string]map[string]bool{},
		services: map[string]*corev1.Service{}, external: map[string]bool{},
	}
	for _, e := range r.Report {
		if strings.Contains(e.Done, "must exist") {
			for _, part := range strings.Split(e.Done, `"`) {
				v.external[part] = true
			}
		}
	}
	objects := r.Objects()
	seen := map[string]bool{}
	for _, o := range objects {
		key := fmt.Sprintf("%s/%s", o.GetObjectKind().GroupVersionKind().Kind, o.GetName())
		if seen[key] {
			v.fault(key, "is there twice")
		}
		seen[key] = true
		v.strict(key, o)
		v.index(o)
	}
	for _, o := range objects {
		v.object(r, o)
	}
	return v.faults
}

func (v *validator) fault(at, format string, args ...any) {
	v.faults = append(v.faults, at+": "+fmt.Sprintf(format, args...))
}

// strict decodes the object's own text into a fresh object of its type.
func (v *validator) strict(at string, o translate.Object) {
	text, err := json.Marshal(o)
	if err != nil {
		v.fault(at, "%v", err)
		return
	}
	fresh := reflect.New(reflect.TypeOf(o).Elem()).Interface()
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(fresh); err != nil {
		v.fault(at, "%v", err)
	}
	if len(text) > 3<<19 {
		v.fault(at, "%d bytes are too many", len(text))
	}
}

func (v *validator) index(o translate.Object) {
	keys := func(sets ...[]string) map[string]bool {
		m := map[string]bool{}
		for _, s := range sets {
			for _, k := range s {
				m[k] = true
			}
		}
		return m
	}
	switch o := o.(type) {
	case *corev1.PersistentVolumeClaim:
		v.claims[o.Name] = true
	case *corev1.ConfigMap:
		var text, binary []string
		total := 0
		for k, x := range o.Data {
			text, total = append(text, k), total+len(x)
		}
		for k, x := range o.BinaryData {
			binary, total = append(binary, k), total+len(x)
		}
		v.configs[o.Name] = keys(text, binary)
		v.data("ConfigMap/"+o.Name, v.configs[o.Name], total)
	case *corev1.Secret:
		var names []string
		total := 0
		for k, x := range o.Data {
			names, total = append(names, k), total+len(x)
		}
		v.secrets[o.Name] = keys(names)
		v.data("Secret/"+o.Name, v.secrets[o.Name], total)
	case *corev1.Service:
		v.services[o.Name] = o
	default:
		if t := templateOf(o); t != nil {
			v.pods = append(v.pods, *t)
		}
	}
}

func (v *validator) data(at string, keys map[string]bool, total int) {
	if total > 1<<20 {
		v.fault(at, "holds %d bytes", total)
	}
	for k := range keys {
		v.all(at+" key "+k, validation.IsConfigMapKey(k))
	}
}

func (v *validator) all(at string, messages []string) {
	for _, m := range messages {
		v.fault(at, "%s", m)
	}
}

// templateOf is the pod template of a workload, nil for other objects.
func templateOf(o translate.Object) *corev1.PodTemplateSpec {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return &o.Spec.Template
	case *appsv1.StatefulSet:
		return &o.Spec.Template
	case *appsv1.DaemonSet:
		return &o.Spec.Template
	case *batchv1.Job:
		return &o.Spec.Template
	case *batchv1.CronJob:
		return &o.Spec.JobTemplate.Spec.Template
	}
	return nil
}

func (v *validator) object(r translate.Result, o translate.Object) {
	kind := o.GetObjectKind().GroupVersionKind().Kind
	at := kind + "/" + o.GetName()
	if o.GetObjectKind().GroupVersionKind().Version == "" {
		v.fault(at, "has no apiVersion")
	}
	switch kind {
	case "Service":
		v.all(at, validation.IsDNS1035Label(o.GetName()))
	case "Namespace":
		v.all(at, validation.IsDNS1123Label(o.GetName()))
	default:
		v.all(at, validation.IsDNS1123Subdomain(o.GetName()))
	}
	if want := r.Namespace; kind != "Namespace" && kind != "PersistentVolume" && o.GetNamespace() != want {
		v.fault(at, "is in namespace %q", o.GetNamespace())
	}
	for _, label := range []string{"com.docker.compose.project", "app.kubernetes.io/managed-by"} {
		if o.GetLabels()[label] == "" {
			v.fault(at, "lacks the label %s", label)
		}
	}
	v.labels(at, o.GetLabels())
	v.annotations(at, o.GetAnnotations())
	switch o := o.(type) {
	case *corev1.Service:
		v.service(at, o)
	case *networkingv1.Ingress:
		v.ingress(at, o)
	case *networkingv1.NetworkPolicy:
		for k := range o.Spec.PodSelector.MatchLabels {
			v.all(at, validation.IsQualifiedName(k))
		}
		if !slices.ContainsFunc(v.pods, func(pod corev1.PodTemplateSpec) bool { return selects(o.Spec.PodSelector.MatchLabels, pod.Labels) }) {
			v.fault(at, "speaks of no pod: %v", o.Spec.PodSelector.MatchLabels)
		}
	case *corev1.PersistentVolumeClaim:
		if q := o.Spec.Resources.Requests[corev1.ResourceStorage]; q.Sign() <= 0 {
			v.fault(at, "asks for no storage")
		}
	case *autoscalingv2.HorizontalPodAutoscaler:
		if o.Spec.MaxReplicas < *o.Spec.MinReplicas {
			v.fault(at, "max below min")
		}
	case *corev1.Namespace, *corev1.ConfigMap, *corev1.Secret, *corev1.PersistentVolume:
	default:
		v.workload(at, o)
	}
}

func (v *validator) labels(at string, labels map[string]string) {
	for k, x := range labels {
		v.all(at+" label "+k, validation.IsQualifiedName(k))
		v.all(at+" label "+k, validation.IsValidLabelValue(x))
	}
}

func (v *validator) annotations(at string, annotations map[string]string) {
	total := 0
	for k, x := range annotations {
		v.all(at+" annotation "+k, validation.IsQualifiedName(strings.ToLower(k)))
		total += len(k) + len(x)
	}
	if total > 256<<10 {
		v.fault(at, "annotations of %d bytes", total)
	}
}

func (v *validator) service(at string, s *corev1.Service) {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		v.all(at, validation.IsDNS1123Subdomain(s.Spec.ExternalName))
		return
	}
	if s.Spec.ClusterIP != corev1.ClusterIPNone && len(s.Spec.Ports) == 0 {
		v.fault(at, "has neither ports nor is it headless")
	}
	names, numbers := map[string]bool{}, map[string]bool{}
	for _, p := range s.Spec.Ports {
		number := fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		if names[p.Name] || numbers[number] {
			v.fault(at, "port %s %s is there twice", p.Name, number)
		}
		names[p.Name], numbers[number] = true, true
		v.all(at, validation.IsDNS1123Label(p.Name))
		v.all(at, validation.IsValidPortNum(int(p.Port)))
		if p.AppProtocol != nil {
			v.all(at, validation.IsQualifiedName(*p.AppProtocol))
		}
	}
	selected := 0
	for _, pod := range v.pods {
		if !selects(s.Spec.Selector, pod.Labels) {
			continue
		}
		selected++
		for _, p := range s.Spec.Ports {
			if !listens(pod.Spec, p) {
				v.fault(at, "port %d leads to %s, which no container has", p.Port, p.TargetPort.String())
			}
		}
	}
	if selected == 0 {
		v.fault(at, "selects no pod: %v", s.Spec.Selector)
	}
}

// listens reports whether a container of the pod has the port that a
// kubeService leads to.
func listens(pod corev1.PodSpec, port corev1.ServicePort) bool {
	for _, c := range pod.Containers {
		for _, p := range c.Ports {
			if p.Protocol == port.Protocol && (p.ContainerPort == port.TargetPort.IntVal || p.Name != "" && p.Name == port.TargetPort.StrVal) {
				return true
			}
		}
	}
	return false
}

func selects(selector, labels map[string]string) bool {
	for k, x := range selector {
		if labels[k] != x {
			return false
		}
	}
	return len(selector) > 0
}

// invalidPath is what the API server refuses in paths of the types Exact and
// Prefix.
var invalidPath = regexp.MustCompile(`//|/\.{1,2}(/|$)|%2[fF]`)

func (v *validator) ingress(at string, in *networkingv1.Ingress) {
	if in.Spec.IngressClassName == nil || *in.Spec.IngressClassName != "nginx" {
		v.fault(at, "is of no class")
	}
	for _, r := range in.Spec.Rules {
		if strings.HasPrefix(r.Host, "*.") {
			v.all(at, validation.IsWildcardDNS1123Subdomain(r.Host))
		} else {
			v.all(at, validation.IsDNS1123Subdomain(r.Host))
		}
		if _, err := netip.ParseAddr(r.Host); err == nil {
			v.fault(at, "host %q is an address", r.Host)
		}
		for _, p := range r.HTTP.Paths {
			s := v.services[p.Backend.Service.Name]
			if s == nil || !slices.ContainsFunc(s.Spec.Ports, func(x corev1.ServicePort) bool { return x.Port == p.Backend.Service.Port.Number }) {
				v.fault(at, "leads to no port: %s %d", p.Backend.Service.Name, p.Backend.Service.Port.Number)
			}
			if !strings.HasPrefix(p.Path, "/") || *p.PathType != networkingv1.PathTypeImplementationSpecific && invalidPath.MatchString(p.Path) {
				v.fault(at, "path %q", p.Path)
			}
		}
	}
}

func (v *validator) workload(at string, o translate.Object) {
	t := templateOf(o)
	if t == nil {
		v.fault(at, "is of an unexpected kind")
		return
	}
	v.labels(at+" template", t.Labels)
	v.annotations(at+" template", t.Annotations)
	for _, label := range []string{"com.docker.compose.project", "com.docker.compose.service", "app.kubernetes.io/managed-by"} {
		if t.Labels[label] == "" {
			v.fault(at, "pods lack the label %s", label)
		}
	}
	selector := func(s map[string]string) {
		if !selects(s, t.Labels) {
			v.fault(at, "does not select its own pods")
		}
	}
	ends := false
	switch o := o.(type) {
	case *appsv1.Deployment:
		selector(o.Spec.Selector.MatchLabels)
		deadline := int32(600)
		if d := o.Spec.ProgressDeadlineSeconds; d != nil {
			deadline = *d
		}
		if deadline <= o.Spec.MinReadySeconds {
			v.fault(at, "a progress deadline of %d s, and ready for %d s", deadline, o.Spec.MinReadySeconds)
		}
		if r := o.Spec.Strategy.RollingUpdate; r != nil && r.MaxSurge.String() == "0" && r.MaxUnavailable.String() == "0" {
			v.fault(at, "neither surge nor unavailable")
		}
	case *appsv1.StatefulSet:
		selector(o.Spec.Selector.MatchLabels)
	case *appsv1.DaemonSet:
		selector(o.Spec.Selector.MatchLabels)
	case *batchv1.Job:
		ends = true
		v.all(at, validation.IsValidLabelValue(o.Name))
	case *batchv1.CronJob:
		ends = true
		if len(o.Name) > 52 {
			v.fault(at, "has a name of %d bytes", len(o.Name))
		}
		if _, err := cron.ParseStandard(o.Spec.Schedule); err != nil {
			v.fault(at, "schedule %q: %v", o.Spec.Schedule, err)
		}
		if o.Spec.TimeZone != nil {
			if _, err := time.LoadLocation(*o.Spec.TimeZone); err != nil {
				v.fault(at, "time zone: %v", err)
			}
		}
	}
	if ends != (t.Spec.RestartPolicy == corev1.RestartPolicyNever || t.Spec.RestartPolicy == corev1.RestartPolicyOnFailure) {
		v.fault(at, "restart policy %q", t.Spec.RestartPolicy)
	}
	v.pod(at, t.Spec)
}

func (v *validator) pod(at string, s corev1.PodSpec) {
	if s.Hostname != "" {
		v.all(at, validation.IsDNS1123Label(s.Hostname))
	}
	if s.Subdomain != "" {
		v.all(at, validation.IsDNS1123Label(s.Subdomain))
	}
	if s.HostnameOverride != nil && (len(*s.HostnameOverride) > 64 || s.HostNetwork || s.SetHostnameAsFQDN != nil) {
		v.fault(at, "hostnameOverride %q", *s.HostnameOverride)
	}
	for _, h := range s.HostAliases {
		if a, err := netip.ParseAddr(h.IP); err != nil || a.Zone() != "" {
			v.fault(at, "host alias %q", h.IP)
		}
		for _, name := range h.Hostnames {
			v.all(at, validation.IsDNS1123Subdomain(name))
		}
	}
	if s.DNSPolicy == corev1.DNSNone && (s.DNSConfig == nil || len(s.DNSConfig.Nameservers) == 0) {
		v.fault(at, "no name server")
	}
	if s.DNSConfig != nil {
		for _, o := range s.DNSConfig.Options {
			if o.Name == "" {
				v.fault(at, "an option of the resolver without a name")
			}
		}
		for _, n := range s.DNSConfig.Nameservers {
			if a, err := netip.ParseAddr(n); err != nil || a.Zone() != "" {
				v.fault(at, "name server %q", n)
			}
		}
	}
	if s.DNSConfig != nil && len(s.DNSConfig.Nameservers) > 3 {
		v.fault(at, "%d name servers", len(s.DNSConfig.Nameservers))
	}
	volumes := map[string]bool{}
	for _, vol := range s.Volumes {
		if volumes[vol.Name] {
			v.fault(at, "volume %q is there twice", vol.Name)
		}
		volumes[vol.Name] = true
		v.all(at+" volume", validation.IsDNS1123Label(vol.Name))
		v.volume(at, vol)
	}
	used := map[string]bool{}
	names := map[string]bool{}
	if len(s.Containers) == 0 {
		v.fault(at, "has no container")
	}
	for _, c := range append(slices.Clone(s.InitContainers), s.Containers...) {
		if names[c.Name] {
			v.fault(at, "container %q is there twice", c.Name)
		}
		names[c.Name] = true
		v.container(at+" "+c.Name, s, c, volumes, used)
	}
	for name := range volumes {
		if !used[name] {
			v.fault(at, "volume %q is mounted nowhere", name)
		}
	}
}

func (v *validator) volume(at string, vol corev1.Volume) {
	items := func(kind, name string, objects map[string]map[string]bool, list []corev1.KeyToPath) {
		keys, ok := objects[name]
		if !ok && !v.external[name] {
			v.fault(at, "there is no %s %q", kind, name)
		}
		paths := map[string]bool{}
		for _, i := range list {
			if ok && !keys[i.Key] {
				v.fault(at, "%s %q has no key %q", kind, name, i.Key)
			}
			v.all(at, validation.IsConfigMapKey(i.Key))
			if path.IsAbs(i.Path) || slices.Contains(strings.Split(i.Path, "/"), "..") || i.Path == "" || paths[i.Path] {
				v.fault(at, "item path %q", i.Path)
			}
			paths[i.Path] = true
			if i.Mode != nil && (*i.Mode < 0 || *i.Mode > 0o777) {
				v.fault(at, "mode %o", *i.Mode)
			}
		}
	}
	switch {
	case vol.PersistentVolumeClaim != nil:
		name := vol.PersistentVolumeClaim.ClaimName
		if !v.claims[name] && !v.external[name] {
			v.fault(at, "there is no claim %q", name)
		}
	case vol.ConfigMap != nil:
		items("ConfigMap", vol.ConfigMap.Name, v.configs, vol.ConfigMap.Items)
	case vol.Secret != nil:
		items("Secret", vol.Secret.SecretName, v.secrets, vol.Secret.Items)
	case vol.Projected != nil:
		paths := map[string]bool{}
		for _, p := range vol.Projected.Sources {
			items("Secret", p.Secret.Name, v.secrets, p.Secret.Items)
			if paths[p.Secret.Items[0].Path] {
				v.fault(at, "path %q twice", p.Secret.Items[0].Path)
			}
			paths[p.Secret.Items[0].Path] = true
		}
	case vol.HostPath != nil:
		if slices.Contains(strings.Split(vol.HostPath.Path, "/"), "..") || vol.HostPath.Path == "" {
			v.fault(at, "host path %q", vol.HostPath.Path)
		}
	case vol.Image != nil:
		if vol.Image.Reference == "" {
			v.fault(at, "image volume of no image")
		}
	}
}

func (v *validator) container(at string, pod corev1.PodSpec, c corev1.Container, volumes, used map[string]bool) {
	v.all(at, validation.IsDNS1123Label(c.Name))
	if strings.TrimSpace(c.Image) == "" || c.Image != strings.TrimSpace(c.Image) {
		v.fault(at, "image %q", c.Image)
	}
	env := map[string]bool{}
	for _, e := range c.Env {
		v.all(at, validation.IsRelaxedEnvVarName(e.Name))
		if env[e.Name] {
			v.fault(at, "variable %q twice", e.Name)
		}
		env[e.Name] = true
	}
	mounts := map[string]bool{}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			v.fault(at, "mounts a volume %q that is not there", m.Name)
		}
		used[m.Name] = true
		if mounts[m.MountPath] || strings.Contains(m.MountPath, ":") || !path.IsAbs(m.MountPath) {
			v.fault(at, "mount path %q", m.MountPath)
		}
		mounts[m.MountPath] = true
		if path.IsAbs(m.SubPath) || slices.Contains(strings.Split(m.SubPath, "/"), "..") {
			v.fault(at, "sub path %q", m.SubPath)
		}
		if m.MountPropagation != nil && *m.MountPropagation == corev1.MountPropagationBidirectional && (c.SecurityContext == nil || c.SecurityContext.Privileged == nil) {
			v.fault(at, "two-way propagation without privileges")
		}
	}
	names, numbers := map[string]bool{}, map[string]bool{}
	for _, p := range c.Ports {
		number := fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol) // what server-side apply knows an entry by
		if p.Name != "" {
			v.all(at, validation.IsValidPortName(p.Name))
		}
		if p.Name != "" && names[p.Name] || numbers[number] {
			v.fault(at, "port %s %s twice", p.Name, number)
		}
		names[p.Name], numbers[number] = true, true
		if pod.HostNetwork && p.HostPort != 0 && p.HostPort != p.ContainerPort {
			v.fault(at, "host port %d of port %d on the node's network", p.HostPort, p.ContainerPort)
		}
	}
	for name, limit := range c.Resources.Limits {
		if request, ok := c.Resources.Requests[name]; ok && request.Cmp(limit) > 0 {
			v.fault(at, "requests more %s than its limit", name)
		}
		if limit.Sign() <= 0 {
			v.fault(at, "limit of %s is %s", name, limit.String())
		}
	}
	for _, p := range []*corev1.Probe{c.ReadinessProbe, c.StartupProbe} {
		if p != nil && (p.PeriodSeconds < 1 || p.TimeoutSeconds < 1 || p.FailureThreshold < 1 || p.Exec == nil || len(p.Exec.Command) == 0) {
			v.fault(at, "probe %+v", p)
		}
	}
	if c.LivenessProbe != nil {
		v.fault(at, "has a liveness probe")
	}
	if l := c.Lifecycle; l != nil && l.StopSignal != nil && pod.OS == nil {
		v.fault(at, "stop signal without an operating system")
	}
	if l := c.Lifecycle; l != nil && l.PreStop != nil && (pod.HostPID || pod.ShareProcessNamespace != nil) && strings.Contains(strings.Join(l.PreStop.Exec.Command, " "), "kill -s") {
		v.fault(at, "sends a signal to a process that is not its own")
	}
	if s := c.SecurityContext; s != nil && s.Privileged != nil && s.AllowPrivilegeEscalation != nil && *s.Privileged && !*s.AllowPrivilegeEscalation {
		v.fault(at, "privileged, but without escalation")
	}
}
