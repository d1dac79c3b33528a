package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// offEngine are images without an engine: enough to load archives.
func offEngine(t testing.TB) *Images {
	t.Helper()
	images, err := New(nil, Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return images
}

func fakeNodes(names ...string) ([]*fakeNode, []Node) {
	var fakes []*fakeNode
	var nodes []Node
	for _, name := range names {
		fakes = append(fakes, newFakeNode(name))
		nodes = append(nodes, fakes[len(fakes)-1])
	}
	return fakes, nodes
}

func loadArchived(ctx context.Context, images *Images, nodes []Node, list ...layout.NamedImage) ([]model.NodeLoad, error) {
	return images.LoadAll(ctx, LoadRequest{Archived: list, Nodes: nodes, Platform: "linux/amd64", Sink: progress.Discard})
}

// outcomes prints loads one a line, without times.
func outcomes(loads []model.NodeLoad) string {
	var lines []string
	for _, l := range loads {
		lines = append(lines, fmt.Sprintf("%s %s %s %d/%d", l.Node, l.Image, l.Outcome, l.Layers, l.AllLayers))
	}
	return strings.Join(lines, "\n")
}

func TestOnlyMissingLayersAreSent(t *testing.T) {
	images := offEngine(t)
	fakes, nodes := fakeNodes("a", "b")
	base, one, two := tarLayer(t, "base", "base"), tarLayer(t, "app", "1"), tarLayer(t, "app", "2")
	steps := []struct {
		name  string
		img   layout.NamedImage
		nodes []Node
		want  string
	}{
		{"fresh", imageOf(t, images, []string{"web:1"}, base, one), nodes[:1], "a web:1 sent 2/2"},
		{"one node more", imageOf(t, images, []string{"web:1"}, base, one), nodes, "a web:1 present 0/2\nb web:1 sent 2/2"},
		{"a changed layer", imageOf(t, images, []string{"web:2"}, base, two), nodes, "a web:2 sent 1/2\nb web:2 sent 1/2"},
		{"another name", imageOf(t, images, []string{"shop:2"}, base, two), nodes, "a shop:2 retagged 0/2\nb shop:2 retagged 0/2"},
		{"an image of present layers", imageOf(t, images, []string{"web:3"}, base), nodes, "a web:3 retagged 0/1\nb web:3 retagged 0/1"},
		{"a name moves back", imageOf(t, images, []string{"web:3"}, base, one), nodes, "a web:3 retagged 0/2\nb web:3 retagged 0/2"},
		{"nothing missing", imageOf(t, images, []string{"web:3"}, base, one), nodes, "a web:3 present 0/2\nb web:3 present 0/2"},
	}
	for _, s := range steps {
		loads, err := loadArchived(t.Context(), images, s.nodes, s.img)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if got := outcomes(loads); got != s.want {
			t.Errorf("%s:\n%s\nwant\n%s", s.name, got, s.want)
		}
	}
	if got := fakes[0].images["docker.io/library/web:3"].Target; got != steps[6].img.Digest() {
		t.Errorf("web:3 stands for %s", got)
	}
	if !slices.Equal(fakes[0].received, []int{2, 1, 0}) {
		t.Errorf("node a received layers %v", fakes[0].received)
	}
}

// Every question starts a program on the node, which costs more than what it
// does there.
func TestNodesAreAskedNoMoreThanNeeded(t *testing.T) {
	images := offEngine(t)
	fakes, nodes := fakeNodes("a")
	base, one, two := tarLayer(t, "base", "base"), tarLayer(t, "app", "1"), tarLayer(t, "app", "2")
	steps := []struct {
		name   string
		img    layout.NamedImage
		silent bool
		want   []string
	}{
		{"fresh", imageOf(t, images, []string{"web:1"}, base), false, []string{"snapshots", "import"}},
		{"a changed layer, as in the dev loop", imageOf(t, images, []string{"web:2"}, base, one), false, []string{"import"}},
		{"a node that does not say what it did", imageOf(t, images, []string{"web:3"}, base, two), true, []string{"import", "unpacked"}},
		{"nothing missing", imageOf(t, images, []string{"web:2"}, base, one), false, []string{"snapshots", "records"}},
	}
	for _, s := range steps {
		fakes[0].asked, fakes[0].silent = nil, s.silent
		if _, err := loadArchived(t.Context(), images, nodes, s.img); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if !slices.Equal(fakes[0].asked, s.want) {
			t.Errorf("%s: the node was asked %v, want %v", s.name, fakes[0].asked, s.want)
		}
	}
}

// Services of a project often share their base: it goes to a new cluster once.
func TestImagesLoadedTogetherShareTheirLayers(t *testing.T) {
	images := offEngine(t)
	fakes, nodes := fakeNodes("a", "b")
	base := tarLayer(t, "base", "base")
	var list []layout.NamedImage
	for n := range 4 {
		list = append(list, imageOf(t, images, []string{fmt.Sprintf("service:%d", n)}, base, tarLayer(t, "app", fmt.Sprint(n))))
	}
	if _, err := loadArchived(t.Context(), images, nodes, list...); err != nil {
		t.Fatal(err)
	}
	for _, f := range fakes {
		if !slices.Equal(f.received, []int{2, 1, 1, 1}) {
			t.Errorf("node %s received layers %v", f.name, f.received)
		}
		if asked := slices.DeleteFunc(f.asked, func(what string) bool { return what == "import" }); !slices.Equal(asked, []string{"snapshots"}) {
			t.Errorf("node %s was asked %v", f.name, asked)
		}
	}
}

func TestNodeThatRefusesGetsEverythingOnce(t *testing.T) {
	images := offEngine(t)
	fakes, nodes := fakeNodes("a", "b")
	base, one, two := tarLayer(t, "base", "base"), tarLayer(t, "app", "1"), tarLayer(t, "app", "2")
	if _, err := loadArchived(t.Context(), images, nodes, imageOf(t, images, []string{"web:1"}, base, one)); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	fakes[0].before = func(n *fakeNode) error {
		once.Do(func() { clear(n.snapshots) }) // garbage collected between question and import
		return nil
	}
	loads, err := loadArchived(t.Context(), images, nodes, imageOf(t, images, []string{"web:2"}, base, two))
	if err != nil {
		t.Fatal(err)
	}
	if got := outcomes(loads); got != "a web:2 sent 2/2\nb web:2 sent 1/2" {
		t.Error(got)
	}
	// What was seen of it was wrong: it is asked again.
	fakes[0].before, fakes[0].asked = nil, nil
	if _, err := loadArchived(t.Context(), images, nodes, imageOf(t, images, []string{"web:3"}, base, tarLayer(t, "app", "3"))); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(fakes[0].asked, []string{"snapshots", "import"}) {
		t.Errorf("afterwards node a was asked %v", fakes[0].asked)
	}
}

func TestWhatAnImportSaysIsUnpacked(t *testing.T) {
	d := digest.FromString("image")
	text := "time=\"now\" level=warning msg=\"an old setting\"\n" +
		"unpacking docker.io/library/web:1 (" + d.String() + ")...done\n" +
		"unpacking docker.io/library/web:2 (" + d.String() + ")...ctr: no space left on device\n"
	if got := parseImported(text); len(got) != 1 || got["docker.io/library/web:1"] != d {
		t.Errorf("read %v", got)
	}
}

func TestWhatContainersWriteOnIsInUse(t *testing.T) {
	text := "KEY PARENT KIND\nsha256:aa  Committed\nsha256:bb sha256:aa Committed\n0123 sha256:bb Active\n4567 sha256:aa View\n"
	if got := parseInUse(text); len(got) != 2 || !got["sha256:bb"] || !got["sha256:aa"] {
		t.Errorf("read %v", got)
	}
}

func TestFailingNodeIsNamedAndStopsNoOther(t *testing.T) {
	images := offEngine(t)
	fakes, nodes := fakeNodes("a", "b", "c")
	fakes[1].before = func(*fakeNode) error { return errors.New("write: no space left on device") }
	loads, err := loadArchived(t.Context(), images, nodes, imageOf(t, images, []string{"web:1"}, tarLayer(t, "x", "x")))
	if err == nil || !strings.Contains(err.Error(), `load image "web:1" onto node "b"`) || strings.Contains(err.Error(), `"a"`) {
		t.Errorf("error is %v", err)
	}
	if got := outcomes(loads); got != "a web:1 sent 1/1\nb web:1 failed 0/1\nc web:1 sent 1/1" {
		t.Error(got)
	}
	if loads[1].Err == nil || fakes[1].imports != 2 {
		t.Errorf("node b: error %v after %d imports", loads[1].Err, fakes[1].imports)
	}
}

func TestConcurrentLoadsShareTheWork(t *testing.T) {
	images := offEngine(t)
	other, err := New(nil, Options{CacheDir: images.cache.Dir()}) // as another process has
	if err != nil {
		t.Fatal(err)
	}
	fakes, nodes := fakeNodes("a")
	img := imageOf(t, images, []string{"web:1"}, tarLayer(t, "x", "x"))
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	fakes[0].before = func(n *fakeNode) error {
		arrived <- struct{}{}
		<-release
		return nil
	}
	var running sync.WaitGroup
	var waiting atomic.Int32
	errs := make([]error, 8)
	for k := range errs {
		running.Go(func() {
			_, errs[k] = []*Images{images, other}[k%2].LoadAll(t.Context(), LoadRequest{
				Archived: []layout.NamedImage{img}, Nodes: nodes, Platform: "linux/amd64",
				Sink: progress.SinkFunc(func(e progress.Event) {
					if strings.Contains(e.Text, "waiting for another load") {
						waiting.Add(1)
					}
				}),
			})
		})
	}
	<-arrived
	waitFor(t, func() bool { return int(waiting.Load()) == len(errs)-1 })
	close(release)
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if fakes[0].imports != 1 {
		t.Errorf("%d imports", fakes[0].imports)
	}
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !what() {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCancelledLoadStopsAndNobodyElseSuffers(t *testing.T) {
	images := offEngine(t)
	fakes, nodes := fakeNodes("a")
	img := imageOf(t, images, []string{"web:1"}, tarLayer(t, "x", "x"))
	ctx, cancel := context.WithCancel(t.Context())
	patient := make(chan error)
	fakes[0].before = func(n *fakeNode) error {
		n.before = nil // the other load meets no obstacle
		go func() {
			_, err := loadArchived(t.Context(), images, nodes, img)
			patient <- err
		}()
		cancel()
		return ctx.Err()
	}
	if _, err := loadArchived(ctx, images, nodes, img); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if err := <-patient; err != nil {
		t.Errorf("the other load: %v", err)
	}
}

func TestPruneKeepsTheLastWhatRunsAndWhatIsNotBerths(t *testing.T) {
	_, nodes := fakeNodes("a")
	node := nodes[0].(*fakeNode)
	images := offEngine(t)
	shared := tarLayer(t, "base", "base")
	mine := func(n int) map[string]string {
		return map[string]string{labelNodeProject: "shop", labelNodeLoaded: fmt.Sprint(1000 + n)}
	}
	put := func(name, text string, labels map[string]string) {
		img := imageOf(t, images, []string{name}, shared, tarLayer(t, "app", text))
		if _, err := loadArchived(t.Context(), images, nodes, img); err != nil {
			t.Fatal(err)
		}
		full, err := FullName(name)
		if err != nil {
			t.Fatal(err)
		}
		record := node.images[full]
		record.Labels = labels
		node.images[full] = record
	}
	for n := range 6 {
		put(fmt.Sprintf("shop-web:berth-%012d", n), fmt.Sprint(n), mine(n))
	}
	put("shop-web:dev", "user's", nil)                                                 // not a content tag
	put("other:berth-000000000000", "0", map[string]string{labelNodeProject: "other"}) // shares an image with shop-web 0
	put("shop-web:berth-aaaaaaaaaaaa", "a", nil)                                       // not loaded for the project
	node.running["docker.io/library/shop-web:berth-000000000001"] = true
	if err := images.pruneNode(t.Context(), node, "shop", []string{"docker.io/library/shop-web:berth-000000000002"}, keepBuilds); err != nil {
		t.Fatal(err)
	}
	var left []string
	ids := 0
	for name := range node.images {
		if isID(name) {
			ids++
		} else {
			left = append(left, strings.TrimPrefix(name, "docker.io/library/"))
		}
	}
	slices.Sort(left)
	want := []string{
		"other:berth-000000000000", "shop-web:berth-000000000001", "shop-web:berth-000000000002", "shop-web:berth-000000000003",
		"shop-web:berth-000000000004", "shop-web:berth-000000000005", "shop-web:berth-aaaaaaaaaaaa", "shop-web:dev",
	}
	if !slices.Equal(left, want) {
		t.Errorf("left are\n%s\nwant\n%s", strings.Join(left, "\n"), strings.Join(want, "\n"))
	}
	if ids != 8 { // the record of shop-web 0 stays, for other has its image
		t.Errorf("%d records by ID are left", ids)
	}
}

// In the dev loop, a build may go back to layers that were pruned meanwhile.
func TestWhatWasPrunedIsSentAgainAtOnce(t *testing.T) {
	images := offEngine(t)
	fakes, nodes := fakeNodes("a")
	old := tarLayer(t, "base", "old")
	load := func(n int, base []byte) []model.NodeLoad {
		t.Helper()
		img := imageOf(t, images, []string{fmt.Sprintf("shop-web:berth-%012d", n)}, base, tarLayer(t, "app", fmt.Sprint(n)))
		loads, err := loadArchived(t.Context(), images, nodes, img)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("docker.io/library/shop-web:berth-%012d", n)
		record := fakes[0].images[name]
		record.Labels = map[string]string{labelNodeProject: "shop", labelNodeLoaded: fmt.Sprint(1000 + n)}
		fakes[0].images[name] = record
		return loads
	}
	load(0, old)
	for n := 1; n <= keepBuilds; n++ {
		load(n, tarLayer(t, "base", "new"))
	}
	if err := images.pruneNode(t.Context(), nodes[0], "shop", nil, keepBuilds); err != nil {
		t.Fatal(err)
	}
	fakes[0].asked, fakes[0].imports = nil, 0
	loads := load(keepBuilds+1, old)
	if got := outcomes(loads); !strings.HasSuffix(got, "sent 2/2") || fakes[0].imports != 1 || !slices.Equal(fakes[0].asked, []string{"import"}) {
		t.Errorf("%s, after the node was asked %v", got, fakes[0].asked)
	}
}

func TestWhatANameStoodForPilesUpALittle(t *testing.T) {
	images := offEngine(t)
	fakes, nodes := fakeNodes("a")
	base := tarLayer(t, "base", "base")
	for n, want := range []int{2, 3, 4, 2, 3, 4, 2} { // layers on the node: the base, and one a build
		if _, err := loadArchived(t.Context(), images, nodes, imageOf(t, images, []string{"web:dev"}, base, tarLayer(t, "app", fmt.Sprint(n)))); err != nil {
			t.Fatal(err)
		}
		if got := len(fakes[0].snapshots); got != want {
			t.Errorf("after load %d: %d layers, want %d", n, got, want)
		}
	}
}

// Loads of one name again and again, as with `kind load docker-image`, leave the
// nodes' disks flat.
func TestWhatANameStoodForGoesWhenItIsLoadedAnew(t *testing.T) {
	images := offEngine(t)
	images.pile = 1
	fakes, nodes := fakeNodes("a")
	base := tarLayer(t, "base", "base")
	var built []layout.NamedImage
	load := func(n int, names ...string) {
		t.Helper()
		built = append(built, imageOf(t, images, names, base, tarLayer(t, "app", fmt.Sprint(n))))
		if _, err := loadArchived(t.Context(), images, nodes, built[len(built)-1]); err != nil {
			t.Fatal(err)
		}
	}
	left := func() []string {
		var ids []string
		for n, img := range built {
			if _, ok := fakes[0].images[img.Manifest.Config.Digest.String()]; ok {
				ids = append(ids, fmt.Sprint(n))
			}
		}
		return ids
	}
	stranger := imageOf(t, images, nil, base, tarLayer(t, "app", "stranger"))
	fakes[0].images["sha256:stranger"] = NodeImage{Name: "sha256:stranger", Target: stranger.Digest()} // not loaded from here
	load(0, "web:dev")
	load(1, "web:dev")
	load(2, "web:dev", "web:two")
	if got := left(); !slices.Equal(got, []string{"2"}) {
		t.Errorf("left are %v", got)
	}
	fakes[0].running["docker.io/library/web:dev"] = true
	inUse := fakes[0].images["docker.io/library/web:dev"].Target
	fakes[0].before = func(n *fakeNode) error { // the pod goes on with what it was started from
		delete(n.running, "docker.io/library/web:dev")
		n.running[built[2].Manifest.Config.Digest.String()] = true
		return nil
	}
	load(3, "web:dev")
	load(4, "web:dev")
	if got := left(); !slices.Equal(got, []string{"2", "4"}) {
		t.Errorf("left are %v; of them 2 runs and has another name", got)
	}
	if fakes[0].images["docker.io/library/web:two"].Target != inUse || fakes[0].images["sha256:stranger"].Name == "" {
		t.Error("a name or an image that is not berth's has gone")
	}
	load(5, "web:two")
	delete(fakes[0].running, built[2].Manifest.Config.Digest.String())
	fakes[0].before = nil
	load(6, "web:dev")
	if got := left(); !slices.Equal(got, []string{"5", "6"}) {
		t.Errorf("left are %v", got)
	}
	if got := len(fakes[0].snapshots); got != 3 { // the base, and two programs on it
		t.Errorf("%d layers are left", got)
	}
}

// An image that the engine takes long to hand out leaves the nodes to others.
func TestALoadThatWaitsForItsImageStopsNoOther(t *testing.T) {
	images := offEngine(t)
	fakes, nodes := fakeNodes("a")
	slow := imageOf(t, images, nil, tarLayer(t, "slow", "1"))
	asked, release := make(chan struct{}), make(chan struct{})
	item := loadable{
		title: "slow:1", names: []string{"docker.io/library/slow:1"}, key: "slow", diffIDs: digestStrings(slow.DiffIDs),
		image: func(context.Context, map[int]bool) (layout.Image, error) {
			close(asked)
			<-release
			return slow.Image, nil
		},
	}
	done := make(chan []model.NodeLoad)
	go func() {
		done <- images.loadOne(t.Context(), item, LoadRequest{Nodes: nodes, Sink: progress.Discard}, "linux/amd64", time.Now())
	}()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := loadArchived(ctx, images, nodes, imageOf(t, images, []string{"quick:1"}, tarLayer(t, "quick", "1"))); err != nil {
		t.Errorf("the image that is there: %v", err)
	}
	close(release)
	if got := outcomes(<-done); got != "a slow:1 sent 1/1" || fakes[0].imports != 2 {
		t.Errorf("%s after %d imports", got, fakes[0].imports)
	}
}

// kindNodes are the real nodes of the shared test cluster.
func kindNodes(t testing.TB) (*docker.Client, []*KindNode) {
	t.Helper()
	name, _ := testneed.Cluster(t)
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := NodesOf(t.Context(), engine, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, n := range nodes {
			n.Close()
		}
		_ = engine.Close()
	})
	return engine, nodes
}

// TestNodeContract holds for the fake node and for a real one.
func TestNodeContract(t *testing.T) {
	t.Run("fake", func(t *testing.T) { nodeContract(t, newFakeNode("fake"), "linux/amd64") })
	t.Run("kind", func(t *testing.T) {
		_, nodes := kindNodes(t)
		nodeContract(t, nodes[len(nodes)-1], "linux/amd64")
	})
}

func nodeContract(t *testing.T, node Node, platform string) {
	images := offEngine(t)
	repo := "berth.test/contract-" + token(t)
	first := imageOf(t, images, nil, tarLayer(t, "base", repo), tarLayer(t, "app", repo+"1"))
	second := imageOf(t, images, nil, tarLayer(t, "base", repo), tarLayer(t, "app", repo+"2"))
	third := imageOf(t, images, nil, tarLayer(t, "base", repo+"other"), tarLayer(t, "app", repo+"3"))
	t.Cleanup(func() {
		_ = node.Remove(context.WithoutCancel(t.Context()), []string{repo + ":1", repo + ":2", repo + ":alias"})
	})
	var told map[string]digest.Digest
	send := func(img layout.NamedImage, name string, labels map[string]string, layers ...int) error {
		t.Helper()
		include := map[int]bool{}
		for _, l := range layers {
			include[l] = true
		}
		thin, err := layout.NewThin(img.Image, []string{name}, include)
		if err != nil {
			t.Fatal(err)
		}
		var buf strings.Builder
		if err := thin.Write(&buf, images.cache); err != nil {
			t.Fatal(err)
		}
		if int64(buf.Len()) != thin.Size() {
			t.Fatalf("the archive has %d bytes, and Size says %d", buf.Len(), thin.Size())
		}
		told, err = node.Import(t.Context(), platform, labels, strings.NewReader(buf.String()))
		return err
	}
	snapshots := func() map[digest.Digest]bool {
		t.Helper()
		s, err := node.Snapshots(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	records := func(names ...string) map[string]digest.Digest {
		t.Helper()
		r, err := node.Records(t.Context(), names, "")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := send(first, repo+":1", map[string]string{labelNodeProject: "contract"}, 0, 1); err != nil {
		t.Fatal(err)
	}
	s := snapshots()
	if r := records(repo + ":1"); r[repo+":1"] != first.Digest() || len(missingLayers(first.ChainIDs(), s)) != 0 {
		t.Errorf("after the import: %v, missing %v", r, missingLayers(first.ChainIDs(), s))
	}
	if len(told) != 1 || told[repo+":1"] != first.Digest() {
		t.Errorf("the import says that it has unpacked %v", told)
	}
	if r, err := node.Records(t.Context(), nil, first.Digest()); err != nil || r[repo+":1"] != first.Digest() {
		t.Errorf("by digest the node has %v (%v)", r, err)
	}
	used, err := node.InUse(t.Context())
	if err != nil || used[first.ChainIDs()[1]] || node.Name() != "fake" && len(used) == 0 {
		t.Errorf("in use are %v (%v)", used, err)
	}
	if got := missingLayers(second.ChainIDs(), s); !got[1] || len(got) != 1 {
		t.Errorf("of the second image the node lacks %v", got)
	}
	if err := send(second, repo+":2", nil, 1); err != nil {
		t.Errorf("import without the layer that is there: %v", err)
	}
	if err := send(third, repo+":3", nil, 1); err == nil {
		t.Error("an import that lacks a layer succeeded")
	}
	unpacked, err := node.Unpacked(t.Context(), []string{repo + ":1", repo + ":2", repo + ":3"})
	if err != nil || len(unpacked) != 2 || unpacked[repo+":1"] != first.Digest() || unpacked[repo+":2"] != second.Digest() {
		t.Errorf("unpacked are %v (%v)", unpacked, err)
	}
	if len(missingLayers(third.ChainIDs(), snapshots())) == 0 {
		t.Error("the node claims layers it was never sent")
	}
	if err := node.Tag(t.Context(), repo+":1", []string{repo + ":alias"}, map[string]string{labelNodeProject: "aliased"}); err != nil {
		t.Fatal(err)
	}
	if err := node.Tag(t.Context(), repo+":nothere", []string{repo + ":x"}, nil); err == nil {
		t.Error("tagging an image that is not there succeeded")
	}
	var list []NodeImage
	waitFor(t, func() bool { // the kubelet's interface adds its own record a moment later
		list, err = node.Images(t.Context())
		return err != nil || slices.ContainsFunc(list, func(img NodeImage) bool { return img.Name == second.Manifest.Config.Digest.String() })
	})
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for _, img := range list {
		if strings.HasPrefix(img.Name, repo) {
			labels[img.Name] = fmt.Sprint(img.Labels[labelNodeProject], img.Running)
		}
	}
	for name, want := range map[string]string{repo + ":1": "contractfalse", repo + ":alias": "aliasedfalse", repo + ":2": "false"} {
		if labels[name] != want {
			t.Errorf("%s is %q, want %q", name, labels[name], want)
		}
	}
	gone := []string{repo + ":1", repo + ":2", repo + ":3", repo + ":alias", repo + ":never"}
	if err := node.Remove(t.Context(), append(gone, orphans(list, gone)...)); err != nil {
		t.Fatal(err)
	}
	if r := records(gone...); len(r) != 0 {
		t.Errorf("left are %v", r)
	}
	if left := snapshots(); len(missingLayers(second.ChainIDs(), left)) != 2 {
		t.Error("the layers of removed images are still there")
	}
	if err := node.Remove(t.Context(), []string{repo + ":3", third.Manifest.Config.Digest.String()}); err != nil {
		t.Errorf("remove what is gone: %v", err)
	}
}
