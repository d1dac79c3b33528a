package export

import (
	"bytes"
	"testing"

	"github.com/berth-dev/berth/translate"
)

var sample = []translate.Entry{
	{Part: "services.db", Path: "services.db.image", Status: translate.Exact, Done: "image of the container"},
	{Part: "services.db", Path: "services.db.volumes[0]", Position: translate.Position{File: "compose.yaml", Line: 20}, Status: translate.Approximated, Done: "a claim"},
	{Part: "services.web", Path: "services.web.ports[0]", Position: translate.Position{File: "compose.yaml", Line: 5}, Status: translate.Approximated, Done: "a NodePort", Do: "use the ingress"},
	{Part: "services.web", Path: "services.web.ulimits", Position: translate.Position{File: "compose.override.yaml", Line: 12}, Status: translate.Dropped, Done: "Kubernetes has\nno ulimits"},
	{Part: "volumes.data", Path: "volumes.data.driver", Status: translate.NeedsCluster, Done: "nothing"},
	{Path: "x-berth", Status: translate.Dropped, Done: "ignored"},
}

func TestTableIsGroupedWorstFirst(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, sample, false); err != nil {
		t.Fatal(err)
	}
	want := `project
  dropped  x-berth  -  ignored
web
  dropped       ulimits   compose.override.yaml:12  Kubernetes has no ulimits
  approximated  ports[0]  compose.yaml:5            a NodePort; use the ingress
volume data
  needs-cluster  driver  -  nothing
db
  approximated  volumes[0]  compose.yaml:20  a claim
6 attributes: 1 exact, 2 approximated, 1 needs-cluster, 2 dropped
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestColorsAddNothingButColors(t *testing.T) {
	var plain, colored bytes.Buffer
	if err := Table(&plain, sample, false); err != nil {
		t.Fatal(err)
	}
	if err := Table(&colored, sample, true); err != nil {
		t.Fatal(err)
	}
	text := colored.Bytes()
	for _, code := range []string{"\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[35m"} {
		text = bytes.ReplaceAll(text, []byte(code), nil)
	}
	if !bytes.Equal(text, plain.Bytes()) || bytes.Equal(colored.Bytes(), plain.Bytes()) {
		t.Errorf("got %q", colored.String())
	}
}

func TestSummaryOfNothingLost(t *testing.T) {
	for want, entries := range map[string][]translate.Entry{"1 attribute, all kept exactly": sample[:1], "0 attributes": nil} {
		if got := Summary(entries); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestJSONHasCountsAndEntries(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, sample[3:4]); err != nil {
		t.Fatal(err)
	}
	want := `{
  "counts": {
    "dropped": 1
  },
  "entries": [
    {
      "path": "services.web.ulimits",
      "part": "services.web",
      "position": {
        "file": "compose.override.yaml",
        "line": 12
      },
      "status": "dropped",
      "done": "Kubernetes has\nno ulimits"
    }
  ]
}
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := JSON(&b, nil); err != nil || b.String() != "{\n  \"counts\": {},\n  \"entries\": []\n}\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}
