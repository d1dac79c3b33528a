package testneed

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestEverySeedPicksAFewAndAllSeedsTogetherPickAll(t *testing.T) {
	seen := map[string]bool{}
	for seed := range 100 {
		n := 0
		for c := range 80 {
			if name := fmt.Sprintf("TestCase/%d", c); picked(fmt.Sprint(seed), name) {
				seen[name] = true
				n++
			}
		}
		if n == 0 || n > 30 {
			t.Errorf("seed %d picks %d of 80", seed, n)
		}
	}
	if len(seen) != 80 {
		t.Errorf("a hundred seeds reach %d of 80 cases", len(seen))
	}
}

func TestACaseThatIsLeftOutIsNamed(t *testing.T) {
	list := filepath.Join(t.TempDir(), "left-out")
	t.Setenv("BERTH_TEST_LONG", "")
	t.Setenv("BERTH_TEST_SEED", "")
	t.Setenv("BERTH_TEST_LEFT_OUT", list)
	ran := false
	t.Run("long", func(t *testing.T) { Long(t); ran = true })
	t.Setenv("BERTH_TEST_LONG", "all")
	t.Run("all", func(t *testing.T) { Long(t) })
	raw, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	if want := t.Name() + "/long\n"; ran || string(raw) != want {
		t.Errorf("ran %v, left out %q, want %q", ran, raw, want)
	}
}
