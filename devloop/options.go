package devloop

import (
	"time"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/translate"
)

// UpOptions are the choices of `berth up`.
type UpOptions struct {
	Services      []string       // with what they depend on; empty: all
	Build         bool           // build images that have a build section even where pull_policy prefers pulling
	NoBuild       bool           // use the images the engine has
	NoDeps        bool           // leave out what Services depend on
	ForceRecreate bool           // replace pods even when nothing changed
	RecreateDeps  bool           // replace the pods of what Services depend on even when nothing changed
	NoRecreate    bool           // leave services as they are that the cluster has
	Pull          string         // in place of the pull_policy of images without a build section: always, missing or never
	QuietPull     bool           // report no pulls
	QuietBuild    bool           // report no builds
	RemoveOrphans bool           // remove services that the project no longer has
	Scale         map[string]int // replicas by service, instead of the project's
	NoStart       bool           // create everything, and start nothing
	NoWait        bool           // return when everything is applied
	WaitTimeout   time.Duration  // for all waits together, from the first on; 0: none
}

// UpResult is what up did.
type UpResult struct {
	Project   string
	Namespace string
	URLs      []string              // through the ingress, in order of services
	HTTP      map[string]bool       // services that the ingress leads to
	Ports     []model.PublishedPort // with the host ports that were chosen
	Report    []translate.Entry
	Changes   model.ChangeSet // of all objects, in the order they were applied
	Loads     []model.NodeLoad
	Orphans   []string // services on the cluster that the project no longer has, left alone
}

// DevOptions are the choices of `berth dev`.
type DevOptions struct {
	Up   UpOptions
	Once bool // return when everything serves, or with the error
	// OnRead, when set, is called with the names of the project's services whenever
	// it was read, sorted.
	OnRead func(services []string)
	// Started, when set, is called once, when the first turn over the whole
	// project is over, however it went.
	Started func()
	// OnUp, when set, is called with the result of every successful turn over the
	// whole project: when it first serves, and after changes of the compose file.
	OnUp func(UpResult)
	// OnRest, when set, is called when nothing has been done for a few seconds: the
	// time for what nobody waits for. It must not block.
	OnRest func()
	// Commands are what the user asks for while the loop runs; nil for none.
	Commands <-chan Command
}

// A Command is something the user asks a running loop for.
type Command struct {
	Verb    CommandVerb
	Service string // "" for all
}

// CommandVerb is what a Command asks for.
type CommandVerb string

// The commands.
const (
	CommandRebuild CommandVerb = "rebuild" // build again and start what came of it
	CommandRestart CommandVerb = "restart" // restart the program
)
