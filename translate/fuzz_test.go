package translate_test

import (
	"bytes"
	"testing"

	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// Whatever the reader accepts, the rules turn into objects that are valid, or
// refuse with an error; they never panic.
func FuzzTranslate(f *testing.F) {
	for _, row := range attributeRows(f) {
		f.Add(row.compose(f), uint8(0))
		f.Add(row.compose(f), uint8(1))
	}
	for _, text := range goldenTexts(f) {
		f.Add(text, uint8(2))
	}
	dir := f.TempDir() // empty: the fuzzer knows no files of the host
	all := []translate.Target{targets()["owned"], targets()["portable"], targets()["zones"]}
	f.Fuzz(func(t *testing.T, text []byte, which uint8) {
		if len(text) > 1<<14 {
			return
		}
		in, err := readText(t, dir, text)
		if err != nil {
			return
		}
		if which >= 128 {
			in.Images = guessedFacts(in)
		}
		r, err := translate.Translate(in, all[int(which)%len(all)])
		if err != nil {
			return
		}
		for _, fault := range faults(r) {
			t.Error(fault)
		}
	})
}

// readText reads a compose file from memory.
func readText(t testing.TB, dir string, text []byte) (translate.Input, error) {
	t.Helper()
	in, _, err := composefile.Read(t.Context(), composefile.Options{
		Dir: dir, Files: []string{"-"}, ProjectName: "fuzz", Stdin: bytes.NewReader(text), Env: []string{"HOME=/home/x"},
	})
	return in, err
}

// guessedFacts gives every image of a project the same facts.
func guessedFacts(in translate.Input) map[string]translate.ImageFacts {
	facts := map[string]translate.ImageFacts{}
	for _, s := range in.Project.Services {
		facts[s.Image] = translate.ImageFacts{
			Ref: "loaded", ID: "sha256:1", Entrypoint: []string{"/e"}, Cmd: []string{"c"}, Volumes: []string{"/data", "relative", "/"},
			Ports: []string{"80/tcp", "x"}, Passwd: map[string]translate.UserIDs{"node": {UID: 1, GID: 1}}, Groups: map[string]int64{"g": 1},
		}
	}
	return facts
}
