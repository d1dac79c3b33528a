package apply

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/kube"
)

func someLines(n, length int) []KeptLine {
	random := rand.New(rand.NewPCG(1, 2))
	var lines []KeptLine
	for i := range n {
		text := make([]byte, length)
		for k := range text {
			text[k] = byte('!' + random.IntN(90))
		}
		lines = append(lines, KeptLine{"web", "web-1", time.Unix(int64(i), 5).UTC(), fmt.Sprintf("%d %s", i, text)})
	}
	return lines
}

func TestKeptLogsComeBackAsTheyWere(t *testing.T) {
	lines := someLines(100, 50)
	got, err := decodeLog(encodeLog(lines))
	if err != nil || !slices.Equal(got, lines) {
		t.Errorf("%d lines, %v", len(got), err)
	}
	if text := encodeLog(nil); text != "" {
		t.Errorf("of nothing it keeps %q", text)
	}
}

func TestKeptLogsFitAnAnnotation(t *testing.T) {
	text := encodeLog(someLines(20_000, 100))
	if len(text) > keptLog {
		t.Errorf("%d bytes", len(text))
	}
	lines, err := decodeLog(text)
	if err != nil || len(lines) < 100 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	want := fmt.Sprintf("... (%d lines are gone with the pod)", 20_000-len(lines)+1)
	if lines[0].Text != want || !strings.HasPrefix(lines[len(lines)-1].Text, "19999 ") {
		t.Errorf("first %q, want %q", lines[0].Text, want)
	}
	lines, err = decodeLog(encodeLog(someLines(1, 1<<20)))
	if err != nil || len(lines) != 1 || lines[0].Text != "... (1 lines are gone with the pod)" {
		t.Errorf("of a line that is too long it keeps %d lines, %v", len(lines), err)
	}
}

func TestKeptLinesAreChosen(t *testing.T) {
	for name, test := range map[string]struct {
		options kube.LogOptions
		want    int
	}{
		"all":   {kube.LogOptions{Tail: -1}, 10},
		"tail":  {kube.LogOptions{Tail: 3}, 3},
		"since": {kube.LogOptions{Tail: -1, Since: time.Unix(8, 0)}, 2},
		"until": {kube.LogOptions{Tail: -1, Until: time.Unix(4, 0)}, 4},
	} {
		if got := chosenLines(someLines(10, 5), test.options); len(got) != test.want {
			t.Errorf("%s: %d lines, want %d", name, len(got), test.want)
		}
	}
}
