package cluster

import (
	"slices"
	"strings"
	"testing"
)

func TestParseMount(t *testing.T) {
	for text, want := range map[string]Mount{
		"/src":        {Source: "/src", Target: "/src"},
		"/src:/dst":   {Source: "/src", Target: "/dst"},
		"/src:ro":     {Source: "/src", Target: "/src", ReadOnly: true},
		"/s:/d:ro":    {Source: "/s", Target: "/d", ReadOnly: true},
		"/s:/d:rw":    {Source: "/s", Target: "/d"},
		"app":         {Source: "/home/me/app", Target: "/home/me/app"},
		"./app/:/x":   {Source: "/home/me/app", Target: "/x"},
		":/dst":       {},
		"/s:/d:/e":    {},
		"/s:relative": {},
	} {
		got, err := ParseMount(text, "/home/me")
		if (err != nil) != (want == Mount{}) {
			t.Errorf("%q: error %v", text, err)
		}
		if err == nil && got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}

func TestSpecDefaultsAndRefusals(t *testing.T) {
	s, err := Spec{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "berth" || s.ControlPlanes != 1 || *s.Workers != 2 {
		t.Errorf("defaults: %+v", s)
	}
	if s, err := (Spec{KubernetesVersion: "1.36.3", Workers: new(0)}).withDefaults(); err != nil || s.KubernetesVersion != "v1.36.3" || *s.Workers != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	for want, s := range map[string]Spec{
		"cannot be the name":            {Name: "Big_Name"},
		"at least one control plane":    {ControlPlanes: -1},
		"no fewer than zero":            {Workers: new(-1)},
		"not a full Kubernetes version": {KubernetesVersion: "1.36"},
		"is not a port":                 {HTTPPort: 70000},
		"both HTTP and HTTPS":           {HTTPPort: 8080, HTTPSPort: 8080},
	} {
		if _, err := s.withDefaults(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", s, err, want)
		}
	}
}

func TestNodeNamesAreKinds(t *testing.T) {
	got := Spec{Name: "x", ControlPlanes: 2, Workers: new(2)}.nodeNames()
	want := []string{"x-control-plane", "x-control-plane2", "x-worker", "x-worker2", "x-external-load-balancer"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestDifferencesOnlyWhereSomethingIsAskedFor(t *testing.T) {
	have := Spec{Name: "x", ControlPlanes: 1, Workers: new(2), NodeImage: "node", KubernetesVersion: "v1.36.3", HTTPPort: 80, HTTPSPort: 443}
	if d := (Spec{Name: "x"}).differences(have); len(d) != 0 {
		t.Errorf("nothing was asked for: %v", d)
	}
	if d := (Spec{Workers: new(2), KubernetesVersion: "1.36.3"}).differences(have); len(d) != 0 {
		t.Errorf("the same was asked for: %v", d)
	}
	got := strings.Join(Spec{Workers: new(4), HTTPPort: 8080, Mounts: []Mount{{Source: "/src", Target: "/src"}}}.differences(have), "; ")
	if got != "workers: 2, not 4; HTTP port: 80, not 8080; mount /src is missing" {
		t.Errorf("got %q", got)
	}
}
