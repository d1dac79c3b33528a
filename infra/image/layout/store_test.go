package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestPruneDropsWhatWasNotUsedForLongest(t *testing.T) {
	s := open(t)
	now := time.Now()
	var all []digest.Digest
	for n, text := range []string{"one", "two", "three", "four"} {
		d, _, err := s.Add(strings.NewReader(strings.Repeat(text, 100)), "")
		if err != nil {
			t.Fatal(err)
		}
		age := now.Add(time.Duration(n-10) * time.Hour)
		if err := os.Chtimes(s.path(d), age, age); err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	f, err := s.OpenBlob(all[0]) // used now
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stale := filepath.Join(s.dir, "tmp", "blob-of-a-killed-process")
	fresh := filepath.Join(s.dir, "tmp", "blob-of-another-process")
	for _, name := range []string{stale, fresh} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	slow, err := s.NewIngest()
	if err != nil {
		t.Fatal(err)
	}
	old := now.Add(-48 * time.Hour)
	for _, name := range []string{stale, slow.file.Name()} {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Prune(800, now); err != nil { // one and four: 300 + 400 bytes
		t.Fatal(err)
	}
	var left []int
	for n, d := range all {
		if s.Has(d) {
			left = append(left, n)
		}
	}
	if !slices.Equal(left, []int{0, 3}) {
		t.Errorf("left are %v", left)
	}
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale file is there: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("another process's file is gone: %v", err)
	}
	if _, err := slow.Commit(""); err != nil {
		t.Errorf("a file that is being written is gone: %v", err)
	}
}

// Several processes load images, and prune when they have, at the same time.
func TestPrunesAtOnceSucceedAndLeaveWhatIsAboutToBeSent(t *testing.T) {
	s := open(t)
	now := time.Now()
	var old []digest.Digest
	for n := range 300 {
		d, _, err := s.Add(strings.NewReader(fmt.Sprint(n)), "")
		if err != nil {
			t.Fatal(err)
		}
		age := now.Add(-time.Hour)
		if err := os.Chtimes(s.path(d), age, age); err != nil {
			t.Fatal(err)
		}
		old = append(old, d)
	}
	fresh, _, err := s.Add(strings.NewReader("just exported"), "")
	if err != nil {
		t.Fatal(err)
	}
	if !s.Keep(old[0]) || s.Keep(digest.FromString("none")) {
		t.Error("Keep does not say what the store holds")
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := s.Prune(0, now); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if !s.Has(fresh) || !s.Has(old[0]) || s.Has(old[1]) {
		t.Errorf("left: new %t, kept %t, old %t", s.Has(fresh), s.Has(old[0]), s.Has(old[1]))
	}
}

func TestDigestsFromOutsideNameNoOtherFile(t *testing.T) {
	s := open(t)
	for _, d := range []digest.Digest{"sha256:../../x", "../x", "", "sha512:" + digest.Digest(strings.Repeat("a", 128))} {
		if s.Has(d) {
			t.Errorf("the store has %q", d)
		}
		if _, err := s.OpenBlob(d); err == nil {
			t.Errorf("blob %q was opened", d)
		}
	}
}

func TestRecordIsReadBackOrCountsAsNone(t *testing.T) {
	s := open(t)
	config := configOf(t, "amd64", layerA)
	img, err := ParseImage([]byte(manifestOf(t, config, layerA)), []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	const key = "sha256:abc_linux/amd64"
	if _, ok := s.GetImage(key); ok {
		t.Error("an image that was never put is there")
	}
	if err := s.PutImage(key, img); err != nil {
		t.Fatal(err)
	}
	got, ok := s.GetImage(key)
	if !ok || got.Digest() != img.Digest() || len(got.ChainIDs()) != 1 {
		t.Errorf("read back %v, %t", got.Digest(), ok)
	}
	if err := os.WriteFile(s.recordPath(key), []byte(`{"manifest":"e30="`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.GetImage(key); ok {
		t.Error("a broken record counts")
	}
}

func TestContentStoreTakesWhatIsMissing(t *testing.T) {
	s := open(t)
	skipped := digest.FromString("skipped")
	c := s.Content(func(d digest.Digest) bool { return d == skipped })
	writer := func(d digest.Digest) (content.Writer, error) {
		return c.Writer(t.Context(), content.WithRef("layer-"+d.String()), content.WithDescriptor(ocispec.Descriptor{Digest: d, Size: 5}))
	}
	if _, err := writer(skipped); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a skipped layer: %v", err)
	}
	hello := digest.FromString("hello")
	w, err := writer(hello)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("wrong")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context(), 5, hello); err == nil {
		t.Error("a wrong digest was committed")
	}
	if w, err = writer(hello); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context(), 5, hello); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("close after commit: %v", err)
	}
	if _, err := writer(hello); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a layer that is there: %v", err)
	}
	if info, err := c.Info(t.Context(), hello); err != nil || info.Size != 5 {
		t.Errorf("info is %v, %v", info, err)
	}
	if _, err := c.Info(t.Context(), skipped); !errdefs.IsNotFound(err) {
		t.Errorf("info of what is not there: %v", err)
	}
	left, err := os.ReadDir(filepath.Join(s.dir, "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("%d files are left (%v)", len(left), err)
	}
}
