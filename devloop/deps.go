package devloop

import (
	"context"

	"github.com/berth-dev/berth/devloop/watch"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// Deps is everything an Engine works with. All fields are required unless
// they say otherwise.
type Deps struct {
	// Read reads the compose project from its files. It is called again
	// whenever one of translate.Input.Files changes; with an error, Files is what it
	// looked at or for.
	Read func(ctx context.Context) (translate.Input, error)
	// Translate is translate.Translate.
	Translate func(translate.Input, translate.Target) (translate.Result, error)
	// Target is the destination. Dev sets Target.Dev by itself.
	Target translate.Target

	Images    Images
	Loader    Loader
	Applier   Applier
	Publisher Publisher
	Resolver  Resolver // nil: names are the cluster's business
	Metrics   Metrics  // nil: autoscalers find their figures, or do not
	Syncer    Syncer   // nil: files cannot be synced, and rules that sync rebuild or restart instead

	// Parallel is how many images are built, pulled and loaded at once; 0: 8, and
	// 4 are loaded.
	Parallel int

	Sink   progress.Sink
	Events EventSink   // nil: dropped; only Dev sends events
	Clock  watch.Clock // nil: the system's
	Watch  WatchMode   // how Dev watches files; "" decides by the platform
}

// Images makes images available in the engine. Build and Ensure report their own
// task ("build web", "pull redis:7") to the sink.
type Images interface {
	// Build builds the image and returns what is known of it, with Ref set to
	// the content tag that pods use. An unchanged build is expected to be
	// quick: the engine decides, not the caller.
	Build(ctx context.Context, spec model.BuildSpec, sink progress.Sink) (model.ImageFacts, error)
	// Ensure makes a given image available as the policy says.
	Ensure(ctx context.Context, ref string, policy model.PullPolicy, platform string, sink progress.Sink) (model.ImageFacts, error)
	// AddUsers adds the users and groups that an image of the engine has.
	AddUsers(ctx context.Context, facts *model.ImageFacts) error
}

// A Loader brings images of the engine to every node. It reports its own task
// ("load web").
type Loader interface {
	// Load loads refs, which are ImageFacts.Ref. A node that has the image
	// costs next to nothing. The error says which nodes failed and why.
	Load(ctx context.Context, refs []string, sink progress.Sink) ([]model.NodeLoad, error)
}

// An Applier changes and observes the cluster. Wait reports its own task
// ("start web").
type Applier interface {
	// Apply creates and updates objects in the order given. Objects that are
	// already as wanted are left alone and reported as model.Unchanged.
	Apply(ctx context.Context, objects []model.Object) (model.ChangeSet, error)
	// Create is Apply, but workloads that it creates or updates have no pods until
	// they are started; with anew neither have those that it would leave alone.
	Create(ctx context.Context, objects []model.Object, anew bool) (model.ChangeSet, error)
	// Prune deletes the project's objects that are not in keep, but those of
	// keepServices (by model.LabelService).
	Prune(ctx context.Context, keep []model.ObjectKey, keepServices []string) (model.ChangeSet, error)
	// Wait returns nil when service has reached cond, and an error with the
	// reason, exit code and last log lines as soon as it cannot any more.
	Wait(ctx context.Context, service string, cond model.WaitCondition, sink progress.Sink) error
	// Swap gives the pods that run images of a new definition of their
	// Deployment in place, and returns when the new containers run. It returns why
	// it did not, "" when it did; applying the Deployment then changes nothing more.
	Swap(ctx context.Context, deployment model.Object) (whyNot string, err error)
	// Restart replaces every pod of service without a change of its
	// definition; a Job runs again.
	Restart(ctx context.Context, service string) error
	// Observe lists the services of the project that the cluster has, sorted
	// by name; none when the project is not there.
	Observe(ctx context.Context) ([]model.ServiceState, error)
	// Follow calls report with what Observe would list, at once and after every
	// change, or with the error while the cluster does not answer, until ctx ends
	// or the cluster cannot be followed any more.
	Follow(ctx context.Context, report func([]model.ServiceState, error)) error
}

// A Publisher makes ports of services reachable on the host. It reports its
// own task ("publish ports").
type Publisher interface {
	// Publish makes ports, and no others of the project, reachable and returns
	// them with the host ports that were chosen.
	Publish(ctx context.Context, ports []model.PublishedPort, sink progress.Sink) ([]model.PublishedPort, error)
}

// A Resolver makes names of compose networks known to pods. It reports its own
// task ("names").
type Resolver interface {
	// Set makes names all that the project has, and returns when pods that ask
	// for one get an answer.
	Set(ctx context.Context, names []model.Name, sink progress.Sink) error
}

// Metrics is what a HorizontalPodAutoscaler reads. It reports its own task
// ("metrics").
type Metrics interface {
	// Ensure returns when the cluster has a metrics server, which need not have
	// figures yet.
	Ensure(ctx context.Context, sink progress.Sink) error
}

// A Syncer acts inside one running container, which model.PodState names. Its
// methods are called for several containers at once, never twice at once for
// the same one. They return ErrNodeAway when the container's node does not answer.
type Syncer interface {
	// Sync carries out files in order. Owner and mode of a replaced file stay;
	// missing directories are made; a removal of what is not there is fine, and
	// so is a Source that has vanished meanwhile: a removal follows. A file
	// takes the place of a directory and the other way round, but symlinks to
	// directories on the way, and at Target when Source is a directory, are
	// followed inside the container and never replaced. Sources that cannot be read
	// are left out, and *model.Unreadable names them when the rest is done. An error
	// that is ErrCannotSync is no better when it is tried again; a container that does
	// not run any more is fs.ErrNotExist. Without files it asks whether the node answers.
	Sync(ctx context.Context, pod model.PodState, files []model.FileSync) error
	// Restart restarts the program in the container, keeps the container's
	// files, and returns when the program listens where it did before, as it is
	// then. It returns ErrNoSupervisor where that is not possible, and a
	// *ProgramEnded when the program ends at once.
	Restart(ctx context.Context, pod model.PodState) (model.Program, error)
	// AwaitProgram returns when the program in the container has been started or
	// has ended since it was as known says; ErrNoSupervisor where nobody knows.
	AwaitProgram(ctx context.Context, pod model.PodState, known model.Program) (model.Program, error)
	// Exec runs a command and passes its output on, line by line.
	Exec(ctx context.Context, pod model.PodState, spec model.ExecSpec, output func(line string)) error
}

// WatchMode says how Dev learns of file changes.
type WatchMode = watch.Mode
