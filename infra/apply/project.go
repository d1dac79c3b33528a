package apply

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/progress"
)

// Annotations that berth reads and writes on objects.
const (
	// annotationHash is on every applied object: a hash of the manifest it was
	// applied from, so that fields dropped from the manifest are noticed.
	annotationHash = "berth.dev/applied"
	// annotationStopped is on workloads that Stop stopped: their replicas.
	annotationStopped = "berth.dev/stopped"
	// annotationCreated is on workloads that Create stopped before they ran.
	annotationCreated = "berth.dev/created"
	// annotationFinished is on Deployments whose pods have all ended well under
	// a restart policy by which Docker would leave them so: the hash of the
	// definition that ran. They are stopped, too.
	annotationFinished = "berth.dev/finished"
	// annotationLog is on them too: what they wrote (KeptLogs).
	annotationLog = "berth.dev/finished-log"
	// annotationRestarted is on pod templates that Restart restarted: when.
	annotationRestarted = "berth.dev/restarted"
	// AnnotationNeeds is on workloads: what their services depend on, as
	// service:condition[:restart][:optional],...
	AnnotationNeeds = "berth.dev/needs"
	// AnnotationRestart is on pod templates: compose's restart policy, where
	// the compose file names one.
	AnnotationRestart = "berth.dev/restart"
	// AnnotationServices is on pod templates of several services:
	// container=service,...
	AnnotationServices = "berth.dev/services"
	// AnnotationStartPeriod is on pod templates: seconds of start_period.
	AnnotationStartPeriod = "berth.dev/start-period"
	// AnnotationDefaultContainer is on pod templates with several containers:
	// the one that is the service's own.
	AnnotationDefaultContainer = "kubectl.kubernetes.io/default-container"
	// LabelOneOff is on pods of `berth run`, as docker compose labels such
	// containers.
	LabelOneOff = "com.docker.compose.oneoff"
)

// Project is a set of objects that were applied together: a compose project,
// or berth's own ingress controller. It lives in one namespace. It is safe
// for concurrent use.
type Project struct {
	client    *kube.Client
	name      string // compose project; "" for a set that is none
	namespace string
	sink      progress.Sink
	nodes     Nodes // nil: images are not swapped in place

	swapTimes sync.Map // model.ObjectKey of a Deployment -> how long its pods took to listen again, a time.Duration

	inventory inventoryCache
	marks     marks

	trackerMu sync.Mutex
	tracker   *tracker // shared by all waits; nil when nobody waits
}

type inventoryCache struct {
	sync.Mutex
	kinds      map[schema.GroupKind]bool // recorded on the inventory object
	namespaces map[string]bool
}

// New returns the project of a namespace. project is the compose project's
// name, "" for objects that belong to none; sink hears of waits for the
// cluster.
func New(client *kube.Client, project, namespace string, sink progress.Sink) *Project {
	return &Project{client: client, name: project, namespace: namespace, sink: sink}
}

// Namespace is where the project lives.
func (p *Project) Namespace() string { return p.namespace }
