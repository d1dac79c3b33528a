package image

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/progress"
)

func TestNodesGetWhatTheEngineCannot(t *testing.T) {
	images := offEngine(t)
	fakes, nodes := fakeNodes("a", "b")
	on := func() (bool, string) {
		t.Helper()
		got, err := images.OnNodes(t.Context(), "mirrored.example/web:1", nodes, progress.Discard)
		if err != nil {
			return got, err.Error()
		}
		return got, ""
	}
	if got, text := on(); got || text != "" {
		t.Errorf("nodes that know no way: %t %s", got, text)
	}
	for _, f := range fakes {
		f.mirrors = map[string]error{"mirrored.example": errors.New("manifest unknown")}
	}
	if got, text := on(); got || !strings.Contains(text, `node "b": manifest unknown`) {
		t.Errorf("a mirror that does not have it: %t %s", got, text)
	}
	for _, f := range fakes {
		f.mirrors = map[string]error{"mirrored.example": nil}
	}
	if got, text := on(); !got || text != "" || fakes[0].images["mirrored.example/web:1"].Name == "" {
		t.Errorf("a mirror that has it: %t %s", got, text)
	}
	for _, f := range fakes {
		f.mirrors = nil
	}
	if got, text := on(); !got || text != "" {
		t.Errorf("nodes that have it already: %t %s", got, text)
	}
}
