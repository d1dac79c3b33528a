package translate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

const supervisedProject = `
services:
  plain: {image: img, develop: {watch: [{action: sync, path: ./a, target: /a}]}}
  own:
    image: img
    command: [serve, "$$(HOME)"]
    restart: always
    stop_signal: SIGQUIT
    stop_grace_period: 3s
    read_only: true
    user: "1000"
    develop: {watch: [{action: sync+restart, path: ./a, target: /a}]}
  entry: {image: unknown, entrypoint: [/x], command: [y], develop: {watch: [{action: restart, path: ./a}]}}
  image: {image: img, develop: {watch: [{action: restart, path: ./a}]}}
  unknown: {image: unknown, develop: {watch: [{action: restart, path: ./a}]}}
  once: {image: img, develop: {watch: [{action: restart, path: ./a}]}}
  last: {image: img, depends_on: {once: {condition: service_completed_successfully}}}
`

// containersOf translates the project and returns the containers by service.
func containersOf(t *testing.T, target translate.Target) map[string]corev1.Container {
	t.Helper()
	in, _, err := composefile.Read(t.Context(), composefile.Options{
		Dir: t.TempDir(), ProjectName: "demo", Files: []string{"-"}, Stdin: strings.NewReader(supervisedProject),
	})
	if err != nil {
		t.Fatal(err)
	}
	in.Images = map[string]translate.ImageFacts{"img": {Ref: "img", Entrypoint: []string{"/entry"}, Cmd: []string{"run", "$$"}, StopSignal: "SIGINT"}}
	r, err := translate.Translate(in, target)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]corev1.Container{}
	for _, s := range r.Services {
		for _, o := range s.Objects {
			if d, ok := o.(*appsv1.Deployment); ok {
				found[s.Name] = d.Spec.Template.Spec.Containers[0]
			}
		}
	}
	return found
}

func TestProgramsThatTheDevLoopRestartsAreSupervised(t *testing.T) {
	type program struct{ command, args []string }
	init := func(signal, grace, restart, entrypoint string, args ...string) *program {
		return &program{[]string{"/.berth/init", "--stop-signal", signal, "--grace", grace, "--restart", restart, "--", entrypoint}, args}
	}
	want := map[string]*program{
		"own":   init("SIGQUIT", "3s", types.RestartPolicyAlways, "/entry", "serve", "$$(HOME)"),
		"entry": init("SIGTERM", "10s", types.RestartPolicyNo, "/x", "y"),
		"image": init("SIGINT", "10s", types.RestartPolicyNo, "/entry", "run", "$$$"),
	}
	target := translate.Target{Kind: translate.Owned, Dev: true, AgentDir: "/usr/local/lib/berth"}
	for name, c := range containersOf(t, target) {
		mounted := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/.berth" && m.ReadOnly })
		program := want[name]
		if program == nil {
			if mounted || len(c.Command) > 0 && c.Command[0] == "/.berth/init" {
				t.Errorf("%s is supervised: %q", name, c.Command)
			}
			continue
		}
		if !mounted || !slices.Equal(c.Command, program.command) || !slices.Equal(c.Args, program.args) {
			t.Errorf("%s: %q %q, want %q; mounts %v", name, c.Command, c.Args, *program, c.VolumeMounts)
		}
		if c.LivenessProbe != nil {
			t.Errorf("%s: a probe may kill a program that is being restarted", name)
		}
	}
	for name, target := range map[string]translate.Target{
		"up": {Kind: translate.Owned, AgentDir: "/usr/local/lib/berth"}, "portable": {Kind: translate.Portable, Dev: true, AgentDir: "/usr/local/lib/berth"},
		"without an agent": {Kind: translate.Owned, Dev: true},
	} {
		for service, c := range containersOf(t, target) {
			if len(c.Command) > 0 && c.Command[0] == "/.berth/init" {
				t.Errorf("%s: %s is supervised", name, service)
			}
		}
	}
}
