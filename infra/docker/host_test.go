package docker

import "testing"

func TestHostFactsAreReadFromProc(t *testing.T) {
	if got := availableMemory("MemTotal: 100 kB\nMemFree: 5 kB\nMemAvailable:   42 kB\n"); got != 42<<10 {
		t.Errorf("available memory: %d", got)
	}
	if got := availableMemory("MemTotal: 100 kB\n"); got != 0 {
		t.Errorf("unknown memory: %d", got)
	}
	for set, want := range map[string]bool{"000001ffffffffff": true, "000001fffeffffff": false} {
		if got := hasSysResource("Name:\tx\nCapBnd:\t" + set + "\nCapAmb:\t0\n"); got != want {
			t.Errorf("%s: %v", set, got)
		}
	}
	if !hasSysResource("") {
		t.Error("an unknown bounding set must not count as restricted")
	}
}
