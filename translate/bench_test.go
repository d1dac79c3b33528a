package translate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/testneed"
	"github.com/berth-dev/berth/translate"
)

// project makes a typed project of n services that look like real ones.
func project(n int, shape string) translate.Input {
	p := &types.Project{Name: "bench", WorkingDir: "/bench", Services: types.Services{}, Volumes: types.Volumes{}, Networks: types.Networks{"default": {}, "back": {}}, Configs: types.Configs{}}
	in := translate.Input{Project: p, Positions: translate.Positions{}}
	for i := range n {
		name := fmt.Sprintf("service-%d", i)
		value := "postgres://u:p@service-0:5432/db?x=$(y)"
		interval := types.Duration(5 * time.Second)
		s := types.ServiceConfig{Name: name, Restart: "always"}
		s.Image = fmt.Sprintf("registry.example.com/team/image-%d:1", i%20)
		s.Command = types.ShellCommand{"serve", "--port", "8080"}
		s.Environment = types.MappingWithEquals{"DATABASE_URL": &value, "B": &value, "C": nil, "D": &name}
		s.Ports = []types.ServicePortConfig{{Target: 8080, Published: fmt.Sprint(10000 + i), Protocol: "tcp", Mode: "ingress"}}
		s.Volumes = []types.ServiceVolumeConfig{{Type: "volume", Source: fmt.Sprintf("data-%d", i), Target: "/data"}, {Type: "tmpfs", Target: "/tmp"}}
		s.Networks = map[string]*types.ServiceNetworkConfig{"back": {Aliases: []string{fmt.Sprintf("alias-%d", i)}}}
		s.HealthCheck = &types.HealthCheckConfig{Test: types.HealthCheckTest{"CMD", "true"}, Interval: &interval}
		s.Labels = types.Labels{"tier": "front", "traefik.http.routers.x.rule": "Host(`a.example.com`)"}
		s.CPUS, s.MemLimit = 0.5, 1<<28
		s.Links = []string{fmt.Sprintf("service-%d:linked", (i+1)%n)}
		s.DependsOn = dependsOn(i, shape)
		p.Services[name] = s
		p.Volumes[fmt.Sprintf("data-%d", i)] = types.VolumeConfig{}
		base := "services." + name
		for line, key := range []string{"", ".image", ".command", ".command[0]", ".command[1]", ".command[2]", ".environment", ".environment.B", ".environment.C", ".environment.D", ".ports", ".ports[0]", ".volumes", ".volumes[0]", ".volumes[1]", ".networks", ".networks.back", ".networks.back.aliases", ".healthcheck", ".healthcheck.test", ".healthcheck.interval", ".labels", ".labels.tier", ".cpus", ".mem_limit", ".restart", ".depends_on"} {
			in.Positions[base+key] = translate.Position{File: "compose.yaml", Line: i*30 + line}
		}
	}
	return in
}

func dependsOn(i int, shape string) types.DependsOnConfig {
	out := types.DependsOnConfig{}
	add := func(n int) {
		out[fmt.Sprintf("service-%d", n)] = types.ServiceDependency{Condition: types.ServiceConditionHealthy, Required: true, Restart: i%2 == 0}
	}
	switch {
	case shape == "chain" && i > 0:
		add(i - 1)
	case shape == "diamond" && i > 2: // layers of three, each on all of the layer before
		for n := range 3 {
			add((i/3-1)*3 + n)
		}
	}
	return out
}

func BenchmarkTranslate(b *testing.B) {
	for _, shape := range testneed.Shapes() {
		for _, n := range []int{10, 100, 1000, 5000} {
			in := project(n, shape)
			for _, target := range []string{"owned", "zones"} {
				b.Run(fmt.Sprintf("%s/%s/%d", target, shape, n), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						mustTranslate(b, in, targets()[target])
					}
					b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/service")
				})
			}
		}
	}
}

// Four times the services take four times the work, counted in allocations:
// time on a busy machine says nothing. BenchmarkTranslate shows the time.
func TestCostGrowsLinearly(t *testing.T) {
	for _, shape := range testneed.Shapes() {
		for _, target := range []string{"owned", "zones"} {
			small, large := allocations(t, project(250, shape), target), allocations(t, project(1000, shape), target)
			if large > 4.4*small {
				t.Errorf("%s/%s: 250 services take %.0f allocations, 1000 take %.0f", target, shape, small, large)
			}
		}
	}
}

func allocations(t *testing.T, in translate.Input, target string) float64 {
	t.Helper()
	return testing.AllocsPerRun(1, func() { mustTranslate(t, in, targets()[target]) })
}
