package testneed

import (
	"fmt"
	"hash/fnv"
	"os"
	"testing"
)

// oneIn is how many long cases there are to one that a run of `make test`
// picks.
const oneIn = 8

// Long keeps a case that takes longer than a smoke test out of most runs.
// BERTH_TEST_LONG=all runs every one; otherwise BERTH_TEST_SEED picks about
// one in eight, another eighth with another seed, and the rest are skipped and
// named in the file BERTH_TEST_LEFT_OUT, one a line. With neither variable set
// no long case runs.
func Long(t testing.TB) {
	t.Helper()
	if os.Getenv("BERTH_TEST_LONG") == "all" {
		return
	}
	seed := os.Getenv("BERTH_TEST_SEED")
	if seed != "" && picked(seed, t.Name()) {
		t.Logf("seed %s picked this long case", seed)
		return
	}
	leftOut(t)
	t.Skip("long: BERTH_TEST_LONG=all or `make test-full` runs it")
}

// Full keeps a case that disturbs the whole machine out of every run but that of
// all long cases. It is named among those left out.
func Full(t testing.TB) {
	t.Helper()
	if os.Getenv("BERTH_TEST_LONG") != "all" {
		leftOut(t)
		t.Skip("disturbs the machine: BERTH_TEST_LONG=all or `make test-full` runs it")
	}
}

// picked tells whether a seed's rotation has a case.
func picked(seed, name string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(seed + "\x00" + name)) // a hash never fails to write
	return h.Sum32()%oneIn == 0
}

// leftOut appends the case's name to the run's list.
func leftOut(t testing.TB) {
	path := os.Getenv("BERTH_TEST_LEFT_OUT")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(f, t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
