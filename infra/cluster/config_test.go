package cluster

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"
)

func TestSettingsAreRegisteredOnlyWhereTheVersionKnowsThem(t *testing.T) {
	restricted := hostFacts{cgroupV1: true, noSysResource: true}
	for name, tc := range map[string]struct {
		version string
		host    hostFacts
		kubelet string // feature gates
		all     string
		fields  string // kubelet fields out of those that depend on the version
	}{
		"1.37 has them on":         {"v1.37.0", hostFacts{}, "", "ContainerStopSignals", "crashLoopBackOff"},
		"1.36":                     {"v1.36.3", hostFacts{}, "", "ContainerStopSignals", "crashLoopBackOff"},
		"1.36, restricted":         {"v1.36.3", restricted, "KubeletInUserNamespace", "ContainerStopSignals", "crashLoopBackOff failCgroupV1"},
		"1.37, restricted":         {"v1.37.0", restricted, "", "ContainerStopSignals", "crashLoopBackOff failCgroupV1"},
		"1.34":                     {"v1.34.1", hostFacts{}, "KubeletCrashLoopBackOffMax", "ContainerStopSignals ImageVolume", "crashLoopBackOff"},
		"1.31":                     {"v1.31.0", restricted, "KubeletInUserNamespace", "ImageVolume", "failCgroupV1"},
		"1.30":                     {"v1.30.9", restricted, "KubeletInUserNamespace", "", ""},
		"newer than berth knows":   {"v1.39.0", hostFacts{}, "", "", "crashLoopBackOff"},
		"a pre-release of its own": {"v1.36.0-beta.1", hostFacts{}, "", "ContainerStopSignals", "crashLoopBackOff"},
	} {
		t.Run(name, func(t *testing.T) {
			v := version.MustParseSemantic(tc.version)
			kubelet, all := gatesFor(v, tc.host)
			if got := words(kubelet); got != tc.kubelet {
				t.Errorf("kubelet gates %q, want %q", got, tc.kubelet)
			}
			if got := words(all); got != tc.all {
				t.Errorf("cluster gates %q, want %q", got, tc.all)
			}
			patches, err := kubeadmPatches(v, tc.host, kubelet, 1)
			if err != nil {
				t.Fatal(err)
			}
			var config map[string]any
			if err := yaml.Unmarshal([]byte(patches[1]), &config); err != nil {
				t.Fatal(err)
			}
			for _, field := range []string{"crashLoopBackOff", "failCgroupV1"} {
				if _, set := config[field]; set != slices.Contains(strings.Fields(tc.fields), field) {
					t.Errorf("%s is set: %v", field, set)
				}
			}
			if config["nodeStatusUpdateFrequency"] != "5s" {
				t.Errorf("nodeStatusUpdateFrequency %v", config["nodeStatusUpdateFrequency"])
			}
		})
	}
}

func words(gates map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(gates)), " ") }

func TestKindConfigMapsTheIngressPortsToTheFirstControlPlane(t *testing.T) {
	spec := Spec{
		Name: "x", ControlPlanes: 2, Workers: new(1), NodeImage: "node", HTTPPort: 8480, HTTPSPort: 8443,
		Mounts: []Mount{{Source: "/src", Target: "/dst", ReadOnly: true}},
	}
	config, err := kindConfig(spec, version.MustParseSemantic("v1.36.3"), hostFacts{})
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Nodes) != 3 {
		t.Fatalf("%d nodes", len(config.Nodes))
	}
	for i, n := range config.Nodes {
		if n.Image != "node" || len(n.ExtraMounts) != 1 || n.ExtraMounts[0].HostPath != "/src" || !n.ExtraMounts[0].Readonly {
			t.Errorf("node %d: image %q, mounts %v", i, n.Image, n.ExtraMounts)
		}
		if has := len(n.ExtraPortMappings) == 2 && n.Labels[IngressLabel] == "true"; has != (i == 0) {
			t.Errorf("node %d: ports %v, labels %v", i, n.ExtraPortMappings, n.Labels)
		}
	}
	for _, p := range config.Nodes[0].ExtraPortMappings {
		if p.ListenAddress != "127.0.0.1" {
			t.Errorf("port %d listens on %q", p.HostPort, p.ListenAddress)
		}
	}
}

// A controller manager alone must not wait for the lease of the one that was killed
// with its node; of several, one leads.
func TestOneControlPlaneElectsNoLeader(t *testing.T) {
	for controlPlanes, want := range map[int]string{1: "false", 3: ""} {
		patches, err := kubeadmPatches(version.MustParseSemantic("v1.36.3"), hostFacts{}, nil, controlPlanes)
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			ControllerManager, Scheduler struct{ ExtraArgs map[string]string }
		}
		if err := yaml.Unmarshal([]byte(patches[0]), &config); err != nil {
			t.Fatal(err)
		}
		for name, args := range map[string]map[string]string{"controller manager": config.ControllerManager.ExtraArgs, "scheduler": config.Scheduler.ExtraArgs} {
			if got := args["leader-elect"]; got != want {
				t.Errorf("%d control planes: the %s has leader-elect %q, want %q", controlPlanes, name, got, want)
			}
		}
	}
}

// kind keeps the name of its load balancer image in an internal package.
func TestLoadBalancerImageIsTheOneOfKind(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind").Output()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "pkg/cluster/internal/loadbalancer/const.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(source), `"`+loadBalancerImage+`"`) {
		t.Errorf("kind uses another image than %s", loadBalancerImage)
	}
}
