package cli

import (
	"slices"
	"testing"

	"github.com/berth-dev/berth/infra/model"
)

func TestBuildsAreOfferedTheAgentsOfTheCommandLine(t *testing.T) {
	specs := []model.BuildSpec{{SSH: []model.BuildSSH{{ID: "default", Path: "/from/the/file"}, {ID: "kept"}}}}
	buildOptions{ssh: []string{"default", "deploy=/key"}}.apply(specs, nil)
	if want := []model.BuildSSH{{ID: "kept"}, {ID: "default"}, {ID: "deploy", Path: "/key"}}; !slices.Equal(specs[0].SSH, want) {
		t.Errorf("got %v, want %v", specs[0].SSH, want)
	}
}

func TestTheCommandLineDecidesOverAttestations(t *testing.T) {
	specs := []model.BuildSpec{{Provenance: "true", SBOM: "true"}}
	buildOptions{provenance: "false"}.apply(specs, nil)
	if specs[0].Provenance != "false" || specs[0].SBOM != "true" {
		t.Errorf("provenance %q, sbom %q", specs[0].Provenance, specs[0].SBOM)
	}
}

func TestBundlesHoldNoAttestations(t *testing.T) {
	specs := []model.BuildSpec{{Name: "web", Provenance: "true", SBOM: "true"}}
	if got := withoutAttestations(specs)[0]; got.Name != "web" || got.Provenance+got.SBOM != "" || specs[0].Provenance == "" {
		t.Errorf("%+v of %+v", got, specs[0])
	}
}
