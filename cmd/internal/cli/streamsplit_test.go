package cli

import (
	"strings"
	"testing"
)

func TestLogIsSplitIntoItsStreams(t *testing.T) {
	const log = "2026-01-01T00:00:00.1Z stdout F first\n" +
		"2026-01-01T00:00:00.2Z stderr F a warning\n" +
		"2026-01-01T00:00:00.3Z stdout P part\n" +
		"2026-01-01T00:00:00.4Z stdout F  and end \n" +
		"2026-01-01T00:00:00.5Z stdout F \n"
	for piece := 1; piece <= len(log); piece++ {
		var out, err strings.Builder
		s := &streamSplitter{out: &out, err: &err}
		for i := 0; i < len(log); i += piece {
			if _, e := s.Write([]byte(log[i:min(i+piece, len(log))])); e != nil {
				t.Fatal(e)
			}
		}
		if out.String() != "first\npart and end \n\n" || err.String() != "a warning\n" {
			t.Fatalf("in pieces of %d bytes: %q, %q", piece, out.String(), err.String())
		}
	}
}
