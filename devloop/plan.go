package devloop

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/translate"
)

// Verb is what an action does.
type Verb string

// The verbs.
const (
	Build   Verb = "Build"   // an image
	Pull    Verb = "Pull"    // an image
	Load    Verb = "Load"    // an image into the nodes
	Apply   Verb = "Apply"   // objects of the project or of one service
	Wait    Verb = "Wait"    // for a service to reach Action.Condition
	Restart Verb = "Restart" // replace the pods of a service
	Sync    Verb = "Sync"    // files into the running containers of a service
	Rerun   Verb = "Rerun"   // restart the program in the running containers of a service
	Exec    Verb = "Exec"    // commands in the running containers of a service
	Publish Verb = "Publish" // ports
	Prune   Verb = "Prune"   // objects the project no longer has
)

// An Action is one thing to do.
type Action struct {
	ID        int                 `json:"id"`
	Verb      Verb                `json:"verb"`
	Image     string              `json:"image,omitempty"`   // translate.Image.Ref, of Build, Pull and Load
	Service   string              `json:"service,omitempty"` // of Apply, Wait, Restart, Sync, Rerun and Exec; "" for an Apply of what belongs to no single service
	Object    string              `json:"object,omitempty"`  // how the plan names what is applied
	Condition model.WaitCondition `json:"condition,omitempty"`
	Cause     string              `json:"cause"`
	Files     int                 `json:"files,omitempty"`    // of Sync: how many changed; containers that are new get all
	After     []int               `json:"after,omitempty"`    // actions that must have succeeded, ascending
	AfterAny  []int               `json:"afterAny,omitempty"` // actions that must have ended, well or not, ascending
}

// subject names what the action is about, as plans print it.
func (a Action) subject() string {
	switch a.Verb {
	case Build, Pull, Load:
		return "image:" + a.Image
	case Apply:
		return a.Object
	case Wait, Restart, Sync, Rerun, Exec:
		return "service:" + a.Service
	case Publish:
		return "ports"
	}
	return "project"
}

// verb prints the verb with what belongs to it.
func (a Action) verb() string {
	switch {
	case a.Condition != "":
		return string(a.Verb) + " " + string(a.Condition)
	case a.Verb == Sync && a.Files == 1:
		return "Sync 1 file"
	case a.Verb == Sync:
		return fmt.Sprintf("Sync %d files", a.Files)
	}
	return string(a.Verb)
}

// String prints the action as "Verb subject".
func (a Action) String() string { return a.verb() + " " + a.subject() }

// failure says that the action failed, to whoever waits for it.
func (a Action) failure() string {
	verb := strings.ToLower(string(a.Verb))
	switch {
	case a.Image != "":
		return fmt.Sprintf("the %s of image %s failed", verb, a.Image)
	case a.Verb == Wait:
		state := strings.TrimPrefix(string(a.Condition), "service_") // service_healthy
		return fmt.Sprintf("%s is not %s", a.Service, strings.ReplaceAll(state, "_", " "))
	case a.Service != "":
		return fmt.Sprintf("the %s of %s failed", verb, a.Service)
	}
	return fmt.Sprintf("the %s of the project failed", verb)
}

// A Hold is something that is not done, with the reason.
type Hold struct {
	Subject string `json:"subject"`
	Why     string `json:"why"`
}

// A Plan is what will be done, in an order in which it can be done.
type Plan struct {
	Actions []Action `json:"actions"`
	Holds   []Hold   `json:"holds,omitempty"`
}

// String prints one line an action and one a hold:
//
//	[1] -> #2 image:web, Load, needed by web
//	hold service:old, not in the project; --remove-orphans removes it
//
// An action in brackets with a question mark need only have ended.
func (p Plan) String() string {
	var b strings.Builder
	for _, a := range p.Actions {
		var after []string
		for _, id := range a.After {
			after = append(after, fmt.Sprint(id))
		}
		for _, id := range a.AfterAny {
			after = append(after, fmt.Sprintf("%d?", id))
		}
		fmt.Fprintf(&b, "[%s] -> #%d %s, %s, %s\n", strings.Join(after, " "), a.ID, a.subject(), a.verb(), a.Cause)
	}
	for _, h := range p.Holds {
		fmt.Fprintf(&b, "hold %s, %s\n", h.Subject, h.Why)
	}
	return b.String()
}

// Decide returns what to do to get from have to want as far as dirty says. It
// touches nothing, and equal arguments give equal plans.
func Decide(want Want, have Have, dirty Dirty) Plan {
	p := &planner{
		want: want, have: have, dirty: dirty, causes: map[string]string{}, made: map[string]int{}, ready: map[string]int{},
		applied: map[string]int{}, restarted: map[string]bool{}, inside: map[string][]int{}, waits: map[waitKey]int{},
	}
	if dirty.All != "" {
		p.shared = p.add(Action{Verb: Apply, Object: "project:" + want.Result.Project, Cause: dirty.All})
		if len(want.ports(have)) > 0 || len(have.Services) > 0 {
			p.add(Action{Verb: Publish, Cause: dirty.All, After: []int{p.shared}})
		}
	}
	for _, img := range p.imagesInOrder() {
		p.image(img)
	}
	services := p.servicesInOrder()
	for _, s := range services {
		p.service(s)
	}
	for _, s := range services {
		for _, m := range want.podMembers(s.Name) {
			p.sync(s, m.Name)
		}
	}
	p.finalWaits(services)
	for _, name := range want.Held {
		p.hold("service:"+name, "on the cluster already; --no-recreate leaves it as it is")
	}
	if dirty.All != "" {
		p.prune()
	}
	return p.plan
}

// A planner is the state of one Decide.
type planner struct {
	want      Want
	have      Have
	dirty     Dirty
	plan      Plan
	shared    int               // the Apply of what belongs to no single service; 0 for none
	causes    map[string]string // image -> why it is planned
	made      map[string]int    // image -> the action after which the engine has it
	ready     map[string]int    // image -> the action after which nodes have it
	restarted map[string]bool   // services with a Restart
	applied   map[string]int    // service -> its Apply or Restart: the action after which it has new pods
	inside    map[string][]int  // service -> what is done inside its containers
	waits     map[waitKey]int   // -> the Wait
}

type waitKey struct {
	service   string
	condition model.WaitCondition
}

// add appends an action and returns its number.
func (p *planner) add(a Action) int {
	a.ID = len(p.plan.Actions) + 1
	a.After = ordered(a.After)
	a.AfterAny = slices.DeleteFunc(ordered(a.AfterAny), func(id int) bool { return slices.Contains(a.After, id) })
	p.plan.Actions = append(p.plan.Actions, a)
	return a.ID
}

// ordered sorts ids and drops doubles and zeros.
func ordered(ids []int) []int {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id int) bool { return id == 0 })
	slices.Sort(ids)
	return slices.Compact(ids)
}

// prune removes what the project no longer has, once all that it has is applied:
// a renamed service goes only when the new one is in place.
func (p *planner) prune() {
	var after []int
	for _, a := range p.plan.Actions {
		if a.Verb == Apply {
			after = append(after, a.ID)
		}
	}
	p.add(Action{Verb: Prune, Cause: p.dirty.All, After: after})
	if p.want.Options.RemoveOrphans {
		return
	}
	for _, name := range p.want.orphans(p.have) {
		p.hold("service:"+name, "not in the project; --remove-orphans removes it")
	}
}

func (p *planner) hold(subject, why string) {
	p.plan.Holds = append(p.plan.Holds, Hold{subject, why})
}

// serviceCause returns why the service is applied, "" when it is not.
func (p *planner) serviceCause(s translate.Service) string {
	if !p.want.Select[s.Name] {
		return ""
	}
	for _, m := range p.want.podMembers(s.Name) {
		if cause := p.dirty.Services[m.Name]; cause != "" {
			return cause
		}
		if _, made := p.ready[m.Image]; made && p.dirty.All == "" {
			return p.causes[m.Image]
		}
	}
	if p.dirty.All == "" {
		return p.follows(s)
	}
	if _, there := p.have.Services[s.Name]; !there {
		return "not on the cluster"
	}
	return p.dirty.All
}
