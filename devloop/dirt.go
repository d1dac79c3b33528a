package devloop

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/berth-dev/berth/devloop/watch"
	"github.com/berth-dev/berth/infra/model"
)

// dirt is what changes ask of one service and nobody has done yet.
type dirt struct {
	seq     uint64
	moments moments

	apply   string // cause to apply the service though nothing of its own changed, "" for none
	rebuild bool
	replace bool // new pods
	rerun   bool // restart the program
	resync  bool // containers lack part of the ledger
	again   bool // not before the next try: it failed for a reason that may pass
	files   []model.FileSync
	exec    []model.ExecSpec

	paths []string // that changed, as users read them; the first keepPaths of them
	more  int      // how many changed besides
	whys  []string // the rules they come from
}

// keepPaths is how many paths a change remembers by name.
const keepPaths = 32

// moments are the times of the change that caused work, for its waterfall.
type moments struct{ saved, first, flushed time.Time }

// merge adds a later change.
func (d *dirt) merge(later dirt) {
	d.seq = max(d.seq, later.seq)
	if !later.moments.flushed.IsZero() {
		d.moments = later.moments
	}
	if later.apply != "" {
		d.apply = later.apply
	}
	d.rebuild = d.rebuild || later.rebuild
	d.replace = d.replace || later.replace
	d.rerun = d.rerun || later.rerun
	d.resync = d.resync || later.resync
	d.files = mergeFiles(d.files, later.files)
	for _, e := range later.exec {
		if !slices.ContainsFunc(d.exec, func(known model.ExecSpec) bool { return fmt.Sprint(known) == fmt.Sprint(e) }) {
			d.exec = append(d.exec, e)
		}
	}
	for _, p := range later.paths {
		d.path(p)
	}
	d.more += later.more
	d.whys = union(d.whys, later.whys)
}

// path remembers a path that changed.
func (d *dirt) path(name string) {
	switch {
	case slices.Contains(d.paths, name):
	case len(d.paths) < keepPaths:
		d.paths = append(d.paths, name)
	default:
		d.more++
	}
}

// mergeFiles adds later operations, of which the last on a target stands.
func mergeFiles(files, later []model.FileSync) []model.FileSync {
	if len(later) == 0 {
		return files
	}
	last := make(map[string]int, len(later)) // files may be many more than those that a save changes
	for i, f := range later {
		last[f.Target] = i
	}
	kept := make([]model.FileSync, 0, len(files)+len(last))
	for _, f := range files {
		if _, again := last[f.Target]; !again {
			kept = append(kept, f)
		}
	}
	for i, f := range later {
		if last[f.Target] == i {
			kept = append(kept, f)
		}
	}
	return kept
}

func union(list, more []string) []string {
	list = slices.Clone(list)
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// empty reports whether nothing is asked.
func (d *dirt) empty() bool {
	return d.apply == "" && !d.rebuild && !d.replace && !d.rerun && !d.resync && len(d.files) == 0 && len(d.exec) == 0
}

// action is the rung of the ladder, as events name it.
func (d *dirt) action() string {
	switch {
	case d.rebuild:
		return actionRebuild
	case d.replace || d.rerun && len(d.files) == 0:
		return actionRestart
	case d.rerun:
		return actionSyncRestart
	case len(d.exec) > 0:
		return actionSyncExec
	case len(d.files) > 0 || d.resync:
		return actionSync
	}
	return "apply"
}

// cause says in a few words why something is done: "source changed: app/main.go (+3)".
func (d *dirt) cause() string {
	switch {
	case len(d.paths) == 1:
		return "source changed: " + d.paths[0]
	case len(d.paths) > 1:
		return fmt.Sprintf("source changed: %s (+%d)", d.paths[0], len(d.paths)-1+d.more)
	case d.apply != "":
		return d.apply
	case d.resync:
		return "a new container"
	}
	return "asked for"
}

// means are what can be done to a service.
type means struct {
	sync  bool // files can be written into its containers
	rerun bool // its program can be restarted there
	build bool // its image is built
}

// classify sorts a batch by service, as the rules say. What a rule asks for and
// the means do not allow is done another way, or its reason returned as a hold.
func (ws watchSet) classify(b watch.Batch, base string, meansOf func(service string) means) (map[string]*dirt, []Hold) {
	byService := map[string]*dirt{}
	var holds []Hold
	for _, c := range b.Changes {
		for _, r := range ws.rules {
			if !r.covers(c.Path) {
				continue
			}
			d := byService[r.service]
			if d == nil {
				d = &dirt{moments: moments{b.Saved, b.First, b.Flushed}}
				byService[r.service] = d
			}
			shown := displayPath(base, c.Path)
			if hold := d.add(r, c, meansOf(r.service)); hold != "" {
				holds = append(holds, Hold{Subject: "service:" + r.service, Why: shown + ": " + hold})
				continue
			}
			d.path(shown)
			d.whys = union(d.whys, []string{r.why})
		}
	}
	for service, d := range byService {
		d.files = mergeFiles(nil, d.files)
		if d.empty() {
			delete(byService, service)
		}
	}
	return byService, holds
}

// add notes one change under one rule. It returns why nothing is done about
// it, "" when something is.
func (d *dirt) add(r rule, c model.FileChange, m means) string {
	switch {
	case r.action == actionRebuild, !m.sync && m.build && r.action != actionRestart:
		d.rebuild = true
		return ""
	case r.action == actionRestart:
		d.rerun, d.replace = d.rerun || m.rerun, d.replace || !m.rerun
		return ""
	case !m.sync:
		return "files cannot be synced into this cluster, and the service has no build section"
	}
	f := model.FileSync{Source: c.Path, Target: r.inContainer(c.Path), Op: c.Op}
	if c.Op == model.FileRemoved {
		f.Source = ""
	}
	d.files = append(d.files, f)
	if r.action == actionSyncRestart {
		d.restart(m)
	}
	if r.action == actionSyncExec && r.exec != nil {
		d.merge(dirt{exec: []model.ExecSpec{*r.exec}})
	}
	return ""
}

// restart has the program started again with the synced files: in place, or in
// an image that has them, or as a last resort in new pods.
func (d *dirt) restart(m means) {
	switch {
	case m.rerun:
		d.rerun = true
	case m.build:
		d.rebuild = true
	default:
		d.replace = true
	}
}

// displayPath shows a path relative to the project where it is inside.
func displayPath(base, name string) string {
	if rel, err := filepath.Rel(base, name); err == nil && inside(base, name) {
		return filepath.ToSlash(rel)
	}
	return name
}
