// Package model holds the types that cross the border between infra and
// devloop. It is a leaf: plain data, no behaviour beyond printing itself.
package model

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Labels and annotations that berth puts on what it makes.
const (
	LabelProject   = "com.docker.compose.project" // the compose project's name, on every object, container and image
	LabelService   = "com.docker.compose.service" // the compose service's name, on everything that belongs to one
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "berth"
	LabelGateway   = "dev.berth.gateway"  // on gateway containers: the project
	AnnotationID   = "berth.dev/image-id" // on pod templates: the image ID the pods were made for
	LabelCluster   = "dev.berth.cluster"  // on gateway containers: the cluster
	LabelStandIn   = "dev.berth.stand-in" // on base images of the offline kit
	LabelServes    = "berth.dev/serves"   // on pods under `berth dev`: that they get requests; taken away while they are changed in place
)

// Object is a Kubernetes object of any kind.
type Object interface {
	metav1.Object
	runtime.Object
}

// ObjectKey names an object in a cluster.
type ObjectKey struct {
	Group, Kind, Namespace, Name string
}

// String returns "Kind/name", the way plans and messages name objects.
func (k ObjectKey) String() string { return k.Kind + "/" + k.Name }

// BuildSpec is everything the build of one image needs. Paths are absolute.
// Field for field it is compose's `build` section, resolved.
type BuildSpec struct {
	Name               string   // repository[:tag] the user knows the image by
	Project            string   // compose project, for labels
	Services           []string // services that use the image, sorted
	Context            string   // directory or remote URL
	Dockerfile         string   // absolute, or relative to Context
	DockerfileInline   string
	Target             string
	Args               map[string]string
	Labels             map[string]string
	Tags               []string
	Platforms          []string
	Network            string
	ExtraHosts         []string // host:ip
	CacheFrom, CacheTo []string
	AdditionalContexts map[string]string
	Secrets            []BuildSecret
	SSH                []BuildSSH
	ShmSize            int64
	Ulimits            []string // name=soft[:hard]
	Isolation          string
	Privileged         bool
	Entitlements       []string
	NoCache            bool
	NoCacheFilter      []string
	Pull               bool
	Provenance, SBOM   string
	Unrecorded         bool // leave no record in the engine's history of builds
}

// BuildSecret is a secret offered to a build under ID: the content of File, or
// Value where File is empty.
type BuildSecret struct{ ID, File, Value string }

// BuildSSH is an agent socket or key offered to a build under ID; an empty
// Path is the user's agent.
type BuildSSH struct{ ID, Path string }

// Health is an image's HEALTHCHECK. Zero durations mean Docker's defaults.
type Health struct {
	Test                                          []string // as in the image config: NONE, CMD ..., CMD-SHELL ...
	Interval, Timeout, StartPeriod, StartInterval time.Duration
	Retries                                       int
}

// ImageFacts is what is known of an image that the engine holds.
type ImageFacts struct {
	Ref        string // what pods use: the content tag of a built image, the given name of a pulled one
	ID         string // config digest, sha256:...
	OS, Arch   string
	Entrypoint []string
	Cmd        []string
	Env        []string
	User       string
	WorkingDir string
	Shell      []string
	StopSignal string
	Ports      []string // EXPOSE, "80/tcp", sorted
	Volumes    []string // VOLUME, sorted
	Health     *Health
	Labels     map[string]string
	Passwd     map[string]UserIDs // /etc/passwd by user name; nil when it was not asked for
	Groups     map[string]int64   // /etc/group by group name
}

// UserIDs are the ids of one line of /etc/passwd.
type UserIDs struct{ UID, GID int64 }

// PullPolicy is compose's pull_policy, reduced to what the engine is asked.
type PullPolicy string

// The pull policies.
const (
	PullMissing PullPolicy = "missing"
	PullAlways  PullPolicy = "always"
	PullNever   PullPolicy = "never"
)

// everyPrefix begins a policy with an interval.
const everyPrefix = "every_"

// PullEvery is the policy to pull again what was pulled longer ago than interval.
func PullEvery(interval time.Duration) PullPolicy {
	return PullPolicy(everyPrefix + interval.String())
}

// Every is the interval of a PullEvery; ok is false for other policies.
func (p PullPolicy) Every() (interval time.Duration, ok bool) {
	text, ok := strings.CutPrefix(string(p), everyPrefix)
	if !ok {
		return 0, false
	}
	interval, err := time.ParseDuration(text)
	return interval, err == nil
}

// NodeLoad says what loading one image did on one node.
type NodeLoad struct {
	Node      string
	Image     string
	Outcome   LoadOutcome
	Layers    int // layers sent
	AllLayers int // layers of the image
	Bytes     int64
	Took      time.Duration
	Err       error
}

// LoadOutcome is how an image came to be on a node.
type LoadOutcome string

// The outcomes of a load.
const (
	LoadPresent  LoadOutcome = "present"
	LoadRetagged LoadOutcome = "retagged"
	LoadSent     LoadOutcome = "sent"
	LoadFailed   LoadOutcome = "failed"
)

// Verb says what apply did to an object.
type Verb string

// What can happen to an object.
const (
	Created   Verb = "created"
	Updated   Verb = "updated"
	Unchanged Verb = "unchanged"
	Deleted   Verb = "deleted"
)

// Change is what happened to one object.
type Change struct {
	Key  ObjectKey
	Verb Verb
}

// ChangeSet is what one apply, prune or delete did, in order.
type ChangeSet []Change

// Changed reports whether anything was created, updated or deleted.
func (c ChangeSet) Changed() bool {
	for _, x := range c {
		if x.Verb != Unchanged {
			return true
		}
	}
	return false
}

// WaitCondition is what a service must reach before a wait for it ends well.
type WaitCondition string

// The wait conditions, compose's depends_on conditions.
const (
	WaitStarted   WaitCondition = "service_started"                // every desired pod's containers have started
	WaitHealthy   WaitCondition = "service_healthy"                // the rollout is complete and every pod Ready
	WaitCompleted WaitCondition = "service_completed_successfully" // the Job is complete

	// WaitServing is WaitHealthy for those who go on watching: a container
	// without a healthcheck counts as up when it runs, not when it has stayed up
	// for a while.
	WaitServing WaitCondition = "serving"
)

// Dependency is what a service depends on, and how.
type Dependency struct {
	Service   string        `json:"service"`
	Condition WaitCondition `json:"condition"`
	Required  bool          `json:"required"` // it is an error when it fails
	Restart   bool          `json:"restart"`  // the service restarts with it
}

// ServiceState is what a cluster shows of one compose service.
type ServiceState struct {
	Service  string     `json:"service"`
	Kind     string     `json:"kind"` // Deployment, StatefulSet, DaemonSet, Job
	Name     string     `json:"name"` // the workload's name
	Desired  int32      `json:"desired"`
	Ready    int32      `json:"ready"`
	Pods     []PodState `json:"pods"`
	Complete bool       `json:"complete"` // a Job that succeeded
	Created  bool       `json:"created"`  // and never started

	DependsOn []Dependency `json:"dependsOn,omitempty"` // of all services of its pods
}

// PodState is what a cluster shows of one pod of a service.
type PodState struct {
	Name, Node, IP string
	Phase          string
	Ready          bool
	Restarts       int32
	Image          string
	ImageID        string
	Reason         string // why it does not run, in a few words; empty when it does
	ExitCode       *int32 // of the last ended container
	Created        time.Time
	Since          time.Time // when its container entered the state it is in; zero before it has one
	Health         string    // starting, healthy or unhealthy; "" for a service without a healthcheck
	ContainerID    string    // containerd id of the service's container, without scheme
	Container      string    // its name
}

// PublishedPort is one host port that leads to a compose service.
type PublishedPort struct {
	Service     string `json:"service"`               // compose service
	KubeService string `json:"kubeService"`           // the ready-only Service behind it
	HostIP      string `json:"hostIP"`                // default 127.0.0.1
	HostPort    int    `json:"hostPort"`              // 0: any free port
	HostPortEnd int    `json:"hostPortEnd,omitempty"` // of a range to choose from; 0 or HostPort when there is no choice
	Target      int    `json:"target"`                // container port, and port of KubeService
	Protocol    string `json:"protocol"`              // tcp or udp
}

// Name is a name that the members of a compose network resolve.
type Name struct {
	FQDN        string // <name>.<network>.<namespace>.<zone>, without a dot at the end
	KubeService string // the Service of the project's namespace that it leads to
}

// FileChange is one change below a watched root.
type FileChange struct {
	Path string // absolute, on the host
	Op   FileOp
}

// FileOp is what happened to a file.
type FileOp string

// The file operations. A rename is a removal and a write.
const (
	FileWritten FileOp = "written"
	FileRemoved FileOp = "removed"
)
