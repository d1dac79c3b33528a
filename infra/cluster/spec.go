package cluster

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/problem"
)

// DefaultName is the name of the cluster when none is given.
const DefaultName = "berth"

const defaultWorkers = 2

// The ingress ports of the host when none are given, and those taken instead
// when a default is not free.
const (
	DefaultHTTPPort   = 80
	DefaultHTTPSPort  = 443
	fallbackHTTPPort  = 8080
	fallbackHTTPSPort = 8443
)

// A Spec says what cluster to create. What is left at its zero value has a
// default, or is taken from the cluster where it exists already.
type Spec struct {
	Name              string  `json:"name"`
	ControlPlanes     int     `json:"controlPlanes"`     // 0: 1
	Workers           *int    `json:"workers"`           // nil: 2
	NodeImage         string  `json:"nodeImage"`         // "": chosen by what the engine can get
	KubernetesVersion string  `json:"kubernetesVersion"` // v1.36.3; "": the node image's
	HTTPPort          int     `json:"httpPort"`          // of 127.0.0.1, to port 80 of the ingress node; 0: 80, or another if that is taken
	HTTPSPort         int     `json:"httpsPort"`         // the same for 443
	Mounts            []Mount `json:"mounts,omitempty"`  // host directories that every node shows
	Ingress           string  `json:"ingress,omitempty"` // which controller the Step is asked for; its words, not this package's
}

// A Mount makes a directory of the host visible on every node, under the same
// path unless Target says otherwise.
type Mount struct {
	Source   string `json:"source"` // absolute
	Target   string `json:"target"` // absolute path in the node
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// ParseMount reads SOURCE[:TARGET][:ro]. dir is what a relative source is
// relative to.
func ParseMount(text, dir string) (Mount, error) {
	bad := func(why string) (Mount, error) {
		return Mount{}, problem.New(fmt.Sprintf("mount %q", text), fmt.Errorf("%s", why), "write --mount SOURCE[:TARGET][:ro]")
	}
	volume := filepath.VolumeName(text) // C: is no separator
	parts := strings.Split(text[len(volume):], ":")
	m := Mount{Source: volume + parts[0]}
	rest := parts[1:]
	if len(rest) > 0 && (rest[len(rest)-1] == "ro" || rest[len(rest)-1] == "rw") {
		m.ReadOnly = rest[len(rest)-1] == "ro"
		rest = rest[:len(rest)-1]
	}
	switch {
	case parts[0] == "":
		return bad("the source is missing")
	case len(rest) > 1:
		return bad("there are too many parts")
	case len(rest) == 1:
		m.Target = rest[0]
	}
	if !filepath.IsAbs(m.Source) {
		m.Source = filepath.Join(dir, m.Source)
	}
	m.Source = filepath.Clean(m.Source)
	if m.Target == "" {
		m.Target = nodePath(m.Source)
	}
	if !strings.HasPrefix(m.Target, "/") {
		return bad("the target must be an absolute path in the node")
	}
	return m, nil
}

// nodePath is where a host directory stands in a Linux node.
func nodePath(source string) string {
	volume := filepath.VolumeName(source)
	path := filepath.ToSlash(source[len(volume):])
	if volume != "" {
		path = "/" + strings.ToLower(strings.TrimSuffix(volume, ":")) + path
	}
	return path
}

var (
	// kind allows this much; the name becomes part of host names.
	validName    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)
	validVersion = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9a-z.-]+)?$`)
)

// maxNameLength keeps <name>-control-plane2 below 64 characters.
const maxNameLength = 48

// CheckName returns a Problem when a cluster cannot have the name.
func CheckName(name string) error {
	if !validName.MatchString(name) || len(name) > maxNameLength {
		return problem.New(fmt.Sprintf("%q cannot be the name of a cluster", name), nil,
			fmt.Sprintf("use at most %d lower-case letters, digits, dots and dashes, beginning with a letter or digit", maxNameLength))
	}
	return nil
}

// Check returns a Problem when no cluster can be as s asks, whatever the engine.
func (s Spec) Check() error {
	_, err := s.withDefaults()
	return err
}

// withDefaults fills what has a default that needs no engine, and refuses what
// cannot be created.
func (s Spec) withDefaults() (Spec, error) {
	if s.Name == "" {
		s.Name = DefaultName
	}
	if err := CheckName(s.Name); err != nil {
		return s, err
	}
	if s.ControlPlanes == 0 {
		s.ControlPlanes = 1
	}
	if s.Workers == nil {
		s.Workers = new(defaultWorkers)
	}
	if s.ControlPlanes < 1 || *s.Workers < 0 {
		return s, problem.New("a cluster needs at least one control plane and no fewer than zero workers", nil,
			"berth cluster create --workers 2")
	}
	if s.KubernetesVersion != "" {
		s.KubernetesVersion = "v" + strings.TrimPrefix(s.KubernetesVersion, "v")
		if !validVersion.MatchString(s.KubernetesVersion) {
			return s, problem.New(fmt.Sprintf("%q is not a full Kubernetes version", s.KubernetesVersion), nil,
				"write all three numbers, as in --kubernetes-version v1.36.3")
		}
	}
	for _, port := range []int{s.HTTPPort, s.HTTPSPort} {
		if port < 0 || port > 65535 {
			return s, problem.New(fmt.Sprintf("%d is not a port", port), nil, "use 1 to 65535")
		}
	}
	if s.HTTPPort != 0 && s.HTTPPort == s.HTTPSPort {
		return s, problem.New(fmt.Sprintf("port %d cannot serve both HTTP and HTTPS", s.HTTPPort), nil,
			"give --http-port and --https-port different numbers")
	}
	return s, nil
}

// nodeNames lists the names kind gives to the nodes of the cluster.
func (s Spec) nodeNames() []string {
	var names []string
	for _, role := range []struct {
		suffix string
		count  int
	}{{roleControlPlane, s.ControlPlanes}, {roleWorker, *s.Workers}} {
		for i := range role.count {
			name := s.Name + "-" + role.suffix
			if i > 0 {
				name += fmt.Sprint(i + 1)
			}
			names = append(names, name)
		}
	}
	if s.ControlPlanes > 1 {
		names = append(names, s.Name+"-"+roleLoadBalancer)
	}
	return names
}

// differences lists where a cluster that was created from have is not what s
// asks for.
func (s Spec) differences(have Spec) []string {
	var all []string
	differ := func(what string, want, got any) {
		all = append(all, fmt.Sprintf("%s: %v, not %v", what, got, want))
	}
	if s.ControlPlanes != 0 && s.ControlPlanes != have.ControlPlanes {
		differ("control planes", s.ControlPlanes, have.ControlPlanes)
	}
	if s.Workers != nil && *s.Workers != *have.Workers {
		differ("workers", *s.Workers, *have.Workers)
	}
	if s.NodeImage != "" && s.NodeImage != have.NodeImage {
		differ("node image", s.NodeImage, have.NodeImage)
	}
	if v := "v" + strings.TrimPrefix(s.KubernetesVersion, "v"); s.KubernetesVersion != "" && v != have.KubernetesVersion {
		differ("Kubernetes", v, have.KubernetesVersion)
	}
	if s.HTTPPort != 0 && s.HTTPPort != have.HTTPPort {
		differ("HTTP port", s.HTTPPort, have.HTTPPort)
	}
	if s.HTTPSPort != 0 && s.HTTPSPort != have.HTTPSPort {
		differ("HTTPS port", s.HTTPSPort, have.HTTPSPort)
	}
	if s.Ingress != "" && s.Ingress != have.Ingress {
		differ("ingress", s.Ingress, have.Ingress)
	}
	for _, m := range s.Mounts {
		if !slices.Contains(have.Mounts, m) {
			all = append(all, fmt.Sprintf("mount %s is missing", m.Source))
		}
	}
	return all
}

// Context is the name of the kubeconfig context of a cluster.
func Context(name string) string { return "kind-" + name }
