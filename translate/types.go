package translate

import (
	"strconv"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Object is a Kubernetes object of any kind.
type Object interface {
	metav1.Object
	runtime.Object
}

// Input is everything a translation depends on. composefile makes it.
type Input struct {
	Project   *types.Project
	Positions Positions            // where each attribute was set
	Paths     map[string]PathFacts // facts of every host path the project names, by absolute path
	Images    map[string]ImageFacts
	LeftOut   []string // services that no active profile selects, sorted
	Files     []string // every compose and env file that was read or would be if it existed: absolute, sorted
}

// Positions maps an attribute path ("services.web.ports[0]") to the place of
// the value that won.
type Positions map[string]Position

// Position is a place in a file, 1-based.
type Position struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

// String returns "file:line", without the line when it is not known, "" for
// the zero position.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// PathFacts is what composefile saw at a host path.
type PathFacts struct {
	Exists  bool
	Dir     bool
	Socket  bool
	Mode    uint32 // permission bits
	Size    int64
	Content []byte // of regular files up to 1 MiB that a config, a secret or a single-file bind mount names

	// Of directories that a bind mount names: every regular file below, by
	// relative slash path; empty for an empty directory. Whole is false, and
	// Files incomplete, when they are more than 1 MiB or 500 files together or
	// when there is something else below (links, sockets, what cannot be read).
	Files map[string]FileFacts
	Whole bool
}

// FileFacts is one regular file below a directory.
type FileFacts struct {
	Mode    uint32 // permission bits
	Content []byte
}

// ImageFacts is what is known of an image, by the reference in Image.Ref.
// It has the fields of model.ImageFacts, so that one converts to the other.
type ImageFacts struct {
	Ref        string
	ID         string
	OS, Arch   string
	Entrypoint []string
	Cmd        []string
	Env        []string
	User       string
	WorkingDir string
	Shell      []string
	StopSignal string
	Ports      []string
	Volumes    []string
	Health     *Health
	Labels     map[string]string
	Passwd     map[string]UserIDs
	Groups     map[string]int64
}

// Health is an image's HEALTHCHECK. Zero durations mean Docker's defaults.
type Health struct {
	Test                                          []string
	Interval, Timeout, StartPeriod, StartInterval time.Duration
	Retries                                       int
}

// UserIDs are the ids of one line of /etc/passwd.
type UserIDs struct{ UID, GID int64 }

// TargetKind says who owns the destination.
type TargetKind string

// The target kinds.
const (
	Owned    TargetKind = "owned"    // a kind cluster that berth created
	Portable TargetKind = "portable" // exported manifests, any other cluster
)

// Target says what the destination can do.
type Target struct {
	Kind          TargetKind
	Namespace     string  // "" for the sanitised project name
	Mounts        []Mount // host directories that every node of an owned cluster sees
	HostGateway   string  // address of the host as seen from pods, "" when unknown
	IngressDomain string  // "localhost"
	HTTPPort      int     // host port of the ingress; 80 is left out of URLs
	Ingress       string  // ingress-nginx, traefik or none
	Dev           bool    // translate for `berth dev`

	// AgentDir is the directory of every node that holds the node agent's
	// binary "agent", "" when there is none. With it volumes are filled from the
	// image on first use.
	AgentDir string
	// Pushed says that images which only this machine has are pushed to a registry
	// of the nodes; their ImageFacts.Ref then names them there.
	Pushed bool
	// DNSAddress and DNSZone are the cluster's resolver and the zone under which
	// it serves Result.Names; "" when it does not, and pods keep the cluster's
	// own search list.
	DNSAddress, DNSZone string
	Nodes               int // nodes that take pods, 0 when unknown
	// PullSecret is what nodes pull images with, a dockerconfigjson; nil for none.
	PullSecret []byte
}

// Mount is a host directory and where nodes see it.
type Mount struct{ Host, Node string }

// Result is a translation. Its slices are in a fixed order.
type Result struct {
	Project   string
	Namespace string
	Shared    []Object  // what belongs to no single service, in apply order, and every kubeService
	Services  []Service // sorted by name
	Images    []Image   // sorted by Ref; one entry for services that share an image
	Names     []Name    // every name that Docker would resolve, sorted by network and name
	Report    []Entry   // sorted by attribute path
}

// Objects lists all objects in apply order.
func (r Result) Objects() []Object {
	objects := append([]Object(nil), r.Shared...)
	for _, s := range r.Services {
		objects = append(objects, s.Objects...)
	}
	return objects
}

// Service is what became of one compose service.
type Service struct {
	Name      string
	Kind      string   // Deployment, StatefulSet, DaemonSet, Job; "" when another service's pod carries it
	Workload  string   // name of that object
	Replicas  int32    // desired; 0 when scaled to nothing
	Objects   []Object // its workload and what only it uses, in apply order
	Container string   // name of its container in the pod
	Image     string   // Image.Ref of its image
	Restart   string   // no, always, unless-stopped or on-failure; with "no" an exit 0 is success
	DependsOn []Dependency
	Ports     []PublishedPort
	URLs      []string // through the ingress
	Binds     []Bind   // what became of its bind mounts, in compose order
}

// Bind is what became of one bind mount.
type Bind struct {
	Source   string // on the host, absolute
	Target   string // in the container
	ReadOnly bool
	How      BindKind
}

// BindKind says how a pod sees a path of the host.
type BindKind string

// The kinds of bind mounts.
const (
	BindLive     BindKind = "live"     // the path itself
	BindNode     BindKind = "node"     // the node's path of that name
	BindFile     BindKind = "file"     // a copy of one file, read-only
	BindSnapshot BindKind = "snapshot" // a copy of a directory, to be kept in sync while the dev loop runs
	BindClaim    BindKind = "claim"    // storage of the cluster instead
	BindNone     BindKind = "none"     // left out
)

// Name is a name that the members of a compose network resolve.
type Name struct {
	Network     string // key of the network in the project
	Only        string // the service whose pods alone resolve it, with the alias of a link; Network is "" then
	Name        string // as Docker knows it: the service, container_name, an alias ...
	KubeService string // the kubeService it leads to
	FQDN        string // the name in the network's zone below Target.DNSZone; "" without one
}

// Dependency is one entry of depends_on, links, volumes_from and network_mode
// service:X taken together.
type Dependency struct {
	Service   string
	Condition string // service_started, service_healthy, service_completed_successfully
	Required  bool
	Restart   bool
}

// PublishedPort is one host port that leads to a service. It has the fields of
// model.PublishedPort.
type PublishedPort struct {
	Service     string
	KubeService string
	HostIP      string
	HostPort    int
	HostPortEnd int
	Target      int
	Protocol    string
}

// Image is an image the project needs.
type Image struct {
	Ref         string             // `image`, or <project>-<service> of a service that only builds
	Build       *types.BuildConfig // nil for images that are pulled
	Services    []string           // sorted
	PullPolicy  string             // compose's pull_policy, "" when unset
	Platform    string             // os/arch[/variant], "" for the node's
	PullSecrets []string           // Secrets that pods pull it with
	Users       bool               // what runs it needs its /etc/passwd and /etc/group: ImageFacts.Passwd and Groups
}

// Status is how well an attribute was kept.
type Status string

// The statuses, best first.
const (
	Exact        Status = "exact"
	Approximated Status = "approximated"
	NeedsCluster Status = "needs-cluster"
	Dropped      Status = "dropped"
)

// Entry is one line of the report: what became of one attribute that the
// project sets.
type Entry struct {
	Path     string   `json:"path"`           // services.web.ulimits
	Part     string   `json:"part,omitempty"` // services.web: the service, volume ... that it belongs to; "" for the project
	Position Position `json:"position"`
	Status   Status   `json:"status"`
	Done     string   `json:"done"`             // what was done
	Do       string   `json:"do,omitempty"`     // what the user can do about it
	Blocks   bool     `json:"blocks,omitempty"` // up must not go on: what would run is not what the user has
}
