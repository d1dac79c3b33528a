package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// loadOne brings one image to all nodes.
func (i *Images) loadOne(ctx context.Context, item loadable, r LoadRequest, platform string, since time.Time) []model.NodeLoad {
	task := progress.Start(r.Sink, "load "+item.title, "asking the nodes what they have")
	job := &loadJob{images: i, item: item, platform: platform, task: task, start: time.Now(), since: since}
	// Whoever loads the same image at the same time does the work; the others
	// find it done.
	unlock, err := i.cache.Lock(ctx, item.key, func() {
		job.waited = true
		task.Update("waiting for another load of this image")
	})
	if err != nil {
		_ = task.End(err, "")
		return job.failed(r.Nodes, err)
	}
	defer unlock()
	if job.waited {
		job.since = time.Now() // what the nodes had before is of no use
	}
	results := job.run(ctx, r.Nodes)
	var failed []error
	for _, l := range results {
		if l.Err != nil {
			failed = append(failed, fmt.Errorf("node %q: %w", l.Node, l.Err))
		}
	}
	_ = task.End(errors.Join(failed...), summary(results))
	return results
}

// summary is the result of a load in one line.
func summary(results []model.NodeLoad) string {
	var bytes int64
	count := map[model.LoadOutcome]int{}
	for _, r := range results {
		count[r.Outcome]++
		bytes += r.Bytes
	}
	var parts []string
	for _, o := range []model.LoadOutcome{model.LoadPresent, model.LoadRetagged, model.LoadSent} {
		if count[o] > 0 {
			parts = append(parts, fmt.Sprintf("%s on %d", o, count[o]))
		}
	}
	text := strings.Join(parts, ", ") + " of " + plural(len(results), "node")
	if bytes > 0 {
		text += ", " + megabytes(bytes)
	}
	return text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// A loadJob is the load of one image onto some nodes.
type loadJob struct {
	images   *Images
	item     loadable
	platform string
	task     *progress.Task
	start    time.Time
	since    time.Time      // answers of nodes that are as new as this are not asked for again
	waited   bool           // for another load of the image, maybe of another process
	replaced []layout.Image // what names of the user's stood for some moves ago; known once the image is

	sent, total atomic.Int64 // bytes, over all nodes
}

// A nodeState is what a node was seen to have before a load.
type nodeState struct {
	snapshots map[digest.Digest]bool   // nil when it did not answer
	records   map[string]digest.Digest // asked for only where no layer is missing
}

// A nodeResult is what became of a load on one node, before it has a name.
type nodeResult struct {
	outcome model.LoadOutcome
	layers  int
	bytes   int64
}

func (j *loadJob) run(ctx context.Context, nodes []Node) []model.NodeLoad {
	states := make([]nodeState, len(nodes))
	results := make([]model.NodeLoad, len(nodes))
	fetched := j.prefetch(ctx)
	each(nodes, func(n int, node Node) {
		results[n] = model.NodeLoad{Node: node.Name(), Image: j.item.title, Outcome: model.LoadFailed}
		states[n], results[n].Err = j.state(ctx, node)
	})
	image := sync.OnceValues(func() (layout.Image, error) {
		<-fetched
		return j.describe(ctx, states)
	})
	each(nodes, func(n int, node Node) {
		r := &results[n]
		if r.Err == nil {
			var got nodeResult
			if got, r.Err = j.loadNode(ctx, node, states[n], image); r.Err == nil {
				r.Outcome, r.Layers, r.Bytes = got.outcome, got.layers, got.bytes
				j.clearReplaced(ctx, node, got.outcome)
			}
		}
		r.Took = time.Since(j.start)
	})
	if img, err := image(); err == nil {
		for n := range results {
			results[n].AllLayers = len(img.DiffIDs)
		}
	}
	return results
}

// failed are the results of a load that never began.
func (j *loadJob) failed(nodes []Node, err error) []model.NodeLoad {
	var results []model.NodeLoad
	for _, node := range nodes {
		results = append(results, model.NodeLoad{Node: node.Name(), Image: j.item.title, Outcome: model.LoadFailed, Err: err, Took: time.Since(j.start)})
	}
	return results
}

func each(nodes []Node, do func(n int, node Node)) {
	inParallel(len(nodes), len(nodes), func(n int) { do(n, nodes[n]) })
}

// prefetch starts to take layers out of the engine that the nodes can hardly
// have, while they are asked. The channel is closed when that is over; if it
// failed, describe says why.
func (j *loadJob) prefetch(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	if !j.soon() {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		_, _ = j.item.image(ctx, j.item.news)
	}()
	return done
}

// soon reports whether the image will be there in a moment: the engine has to hand
// out no more than what is new since the last build.
func (j *loadJob) soon() bool { return j.item.known == nil && len(j.item.news) > 0 }

// chain are the chain IDs of the image's layers, and d its digest, as far as they
// are known before the image is described.
func (j *loadJob) chain() (chain []digest.Digest, d digest.Digest) {
	if known := j.item.known; known != nil {
		return known.ChainIDs(), known.Digest()
	}
	return chainIDs(j.item.diffIDs), ""
}

// state asks a node what it has, unless this process saw it before and the
// image cannot be there: then what it had decides what is sent, and if that
// has changed the import fails and everything is sent.
func (j *loadJob) state(ctx context.Context, node Node) (nodeState, error) {
	chain, d := j.chain()
	var err error
	var state nodeState
	state.snapshots, err = j.images.seen(node).ask(ctx, node, func(had map[digest.Digest]bool, asked time.Time) bool {
		return !asked.Before(j.since) || !j.waited && len(missingLayers(chain, had)) > 0
	})
	if err == nil && len(missingLayers(chain, state.snapshots)) == 0 {
		state.records, err = node.Records(ctx, j.item.names, d)
	}
	return state, err
}

// describe gets the image and the layers that at least one node lacks.
func (j *loadJob) describe(ctx context.Context, states []nodeState) (layout.Image, error) {
	diffIDs := j.item.diffIDs
	if j.item.known != nil {
		diffIDs = digestStrings(j.item.known.DiffIDs)
	}
	if diffIDs == nil {
		img, err := j.item.image(ctx, nil)
		if err != nil {
			return layout.Image{}, err
		}
		diffIDs = digestStrings(img.DiffIDs)
	}
	chain := chainIDs(diffIDs)
	lacking := map[int]bool{}
	for _, s := range states {
		if s.snapshots == nil {
			continue
		}
		for n := range missingLayers(chain, s.snapshots) {
			lacking[n] = true
		}
	}
	if len(lacking) > 0 {
		j.task.Update(fmt.Sprintf("fetching %s from the engine", plural(len(lacking), "layer")))
	}
	img, err := j.item.image(ctx, lacking)
	if err == nil && j.item.remember != nil {
		err = j.item.remember(img)
	}
	if err == nil && len(j.item.labels) == 0 {
		j.replaced, err = j.images.noteNames(j.item.names, j.platform, img)
	}
	return img, err
}

// clearReplaced removes what the names stood for before, if that has piled up. The
// image is there in any case: what could not be removed now goes with the next load.
func (j *loadJob) clearReplaced(ctx context.Context, node Node, outcome model.LoadOutcome) {
	has, _ := j.images.seen(node).known()
	piled := slices.ContainsFunc(j.replaced, func(img layout.Image) bool { return len(missingLayers(img.ChainIDs(), has)) == 0 })
	if !piled || outcome == model.LoadPresent {
		return
	}
	if err := j.images.removeReplaced(ctx, node); err != nil && ctx.Err() == nil {
		j.task.Log(fmt.Sprintf("node %s: what was replaced stays for now: %s", node.Name(), firstLine(err)))
	}
}

// chainIDs of layers given by diff ID.
func chainIDs(diffIDs []string) []digest.Digest {
	img := layout.Image{}
	for _, d := range diffIDs {
		img.DiffIDs = append(img.DiffIDs, digest.Digest(d))
	}
	return img.ChainIDs()
}

// missingLayers are the indices of the layers that a node has not unpacked.
func missingLayers(chain []digest.Digest, snapshots map[digest.Digest]bool) map[int]bool {
	missing := map[int]bool{}
	for n, id := range chain {
		if !snapshots[id] {
			missing[n] = true
		}
	}
	return missing
}

// loadNode gives a node what it lacks and checks that it has the image then. A
// node that refuses gets everything once. What it lacks is decided in its turn:
// loads of other images may have brought some of it meanwhile. An import that is
// sure to come starts before the image is there, if it will be soon; one that takes
// the engine longer leaves the turn to other images.
func (j *loadJob) loadNode(ctx context.Context, node Node, state nodeState, image func() (layout.Image, error)) (nodeResult, error) {
	if !j.soon() {
		if _, err := image(); err != nil {
			return nodeResult{}, err
		}
	}
	seen := j.images.seen(node)
	if err := seen.sending.enter(ctx); err != nil {
		return nodeResult{}, err
	}
	defer seen.sending.leave()
	now, _ := seen.known()
	if now == nil { // forgotten meanwhile
		now = state.snapshots
	}
	if chain, _ := j.chain(); len(missingLayers(chain, now)) == 0 {
		img, err := image()
		if err != nil {
			return nodeResult{}, err
		}
		if len(missingLayers(img.ChainIDs(), now)) == 0 {
			if done, r, err := j.rename(ctx, node, state, img); done || err != nil {
				return r, err
			}
		}
	}
	r, err := j.send(ctx, node, image, func(img layout.Image) map[int]bool { return missingLayers(img.ChainIDs(), now) })
	if err == nil || ctx.Err() != nil {
		return r, err
	}
	img, imageErr := image()
	if imageErr != nil {
		return r, imageErr
	}
	j.task.Log(fmt.Sprintf("node %s: %s; sending all layers", node.Name(), firstLine(err)))
	seen.forget()
	r, err = j.send(ctx, node, func() (layout.Image, error) { return j.item.image(ctx, allLayers(img)) }, allLayers)
	if err != nil && ctx.Err() == nil {
		j.withdraw(ctx, node, img)
		seen.forget() // another load may have asked before
	}
	return r, err
}

func allLayers(img layout.Image) map[int]bool {
	all := map[int]bool{}
	for n := range img.DiffIDs {
		all[n] = true
	}
	return all
}

// withdraw removes the records of an image that a node has but could not unpack:
// they keep its disk full, and the kubelet would take the image for complete.
// What cannot be asked or removed now is why the load failed.
func (j *loadJob) withdraw(ctx context.Context, node Node, img layout.Image) {
	unpacked, err := node.Unpacked(ctx, j.item.names)
	if err != nil || j.all(unpacked, img) {
		return
	}
	records, err := node.Images(ctx)
	if err != nil {
		return
	}
	var broken []string
	for _, r := range records {
		ours := slices.Contains(j.item.names, r.Name) || strings.HasPrefix(r.Name, "sha256:") // the kubelet's own name for it
		if ours && r.Target == img.Digest() && !r.Running {
			broken = append(broken, r.Name)
		}
	}
	_ = node.Remove(ctx, broken)
}

// rename deals with a node that has every layer: nothing to do, or a name to
// set. done is false when the manifest itself must be sent.
func (j *loadJob) rename(ctx context.Context, node Node, state nodeState, img layout.Image) (done bool, r nodeResult, err error) {
	var lacking []string
	for _, name := range j.item.names {
		if state.records[name] != img.Digest() {
			lacking = append(lacking, name)
		}
	}
	if len(lacking) == 0 {
		return true, nodeResult{outcome: model.LoadPresent}, nil
	}
	for name, d := range state.records {
		if d != img.Digest() {
			continue
		}
		if err := node.Tag(ctx, name, lacking, j.item.labels); err != nil {
			return false, nodeResult{}, nil // it may have gone meanwhile: send it
		}
		return true, nodeResult{outcome: model.LoadRetagged}, j.verify(ctx, node, nil, img)
	}
	return false, nodeResult{}, nil
}

// send imports the image with some of its layers and checks that it is there. The
// node gets ready to import while image is waited for.
func (j *loadJob) send(ctx context.Context, node Node, image func() (layout.Image, error), layers func(layout.Image) map[int]bool) (nodeResult, error) {
	var r nodeResult
	var img layout.Image
	reader, writer := io.Pipe()
	written := make(chan error, 1)
	go func() {
		var err error
		if img, err = image(); err == nil {
			r, err = j.write(writer, img, layers(img))
		}
		if err != nil {
			err = fmt.Errorf("write what is to be loaded: %w", err) // io.EOF would be its end
		}
		writer.CloseWithError(err)
		written <- err
	}()
	told, err := node.Import(ctx, j.platform, j.item.labels, reader)
	_ = reader.Close()
	writeErr := <-written
	if writeErr != nil && !errors.Is(writeErr, io.ErrClosedPipe) {
		err = writeErr // the node saw only that the archive ended early
	}
	if err == nil {
		err = j.verify(ctx, node, told, img)
	}
	return r, err
}

// write writes the archive for a node.
func (j *loadJob) write(w io.Writer, img layout.Image, layers map[int]bool) (nodeResult, error) {
	thin, err := layout.NewThin(img, j.item.names, layers)
	if err != nil {
		return nodeResult{}, err
	}
	j.total.Add(thin.Size())
	r := nodeResult{outcome: model.LoadSent, layers: thin.Count(), bytes: thin.Size()}
	if r.layers == 0 {
		r.outcome = model.LoadRetagged
	}
	buffered := bufio.NewWriterSize(&countingWriter{w, j}, 1<<20)
	if err = thin.Write(buffered, j.images.cache); err == nil {
		err = buffered.Flush()
	}
	return r, err
}

// A countingWriter reports how much of all archives was written.
type countingWriter struct {
	w io.Writer
	j *loadJob
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.j.task.Progress(c.j.sent.Add(int64(n)), c.j.total.Load())
	return n, err
}

// verify checks that the node has every name and every layer. told is what it
// said itself at the end of an import; whatever that leaves open is asked.
func (j *loadJob) verify(ctx context.Context, node Node, told map[string]digest.Digest, img layout.Image) error {
	seen := j.images.seen(node)
	if !j.all(told, img) {
		told, _ = node.Unpacked(ctx, j.item.names)
	}
	if j.all(told, img) {
		seen.add(img.ChainIDs())
		return nil
	}
	// Something is missing, or the image is for a platform that is not the
	// node's, whose layers only the snapshots tell of.
	records, err := node.Records(ctx, j.item.names, "")
	if err != nil {
		return err
	}
	for _, name := range j.item.names {
		if got := records[name]; got != img.Digest() {
			return fmt.Errorf("after the import the node has no image %q with digest %s", name, img.Digest())
		}
	}
	snapshots, err := seen.ask(ctx, node, never)
	if err != nil {
		return err
	}
	if missing := missingLayers(img.ChainIDs(), snapshots); len(missing) > 0 {
		return fmt.Errorf("after the import the node lacks %d of %d layers", len(missing), len(img.DiffIDs))
	}
	return nil
}

// all reports whether every name stands for img.
func (j *loadJob) all(found map[string]digest.Digest, img layout.Image) bool {
	for _, name := range j.item.names {
		if found[name] != img.Digest() {
			return false
		}
	}
	return true
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func loadHint(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "no space left on device"):
		return docker.FreeSpace + ", then run the command again"
	case strings.Contains(text, "no such container"), strings.Contains(text, "is not running"):
		return "berth cluster start"
	}
	return ""
}
