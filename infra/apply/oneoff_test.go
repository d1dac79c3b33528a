package apply

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAOneOffReplacesTheProgramAndNotItsSupervisor(t *testing.T) {
	watched := []string{supervisor, "--grace", "10s", "--restart", "always", "--", "/entry"}
	once := []string{supervisor, "--grace", "10s", "--once", "--"}
	for name, c := range map[string]struct {
		command, args         []string
		oneOff                OneOff
		wantCommand, wantArgs []string
	}{
		"a command":                          {[]string{"/entry"}, []string{"serve"}, OneOff{Command: []string{"migrate"}}, []string{"/entry"}, []string{"migrate"}},
		"a command of the image":             {nil, nil, OneOff{Command: []string{"migrate"}}, nil, []string{"migrate"}},
		"an entrypoint":                      {[]string{"/entry"}, []string{"serve"}, OneOff{Entrypoint: []string{"sh"}}, []string{"sh"}, nil},
		"a command under the supervisor":     {watched, []string{"serve"}, OneOff{Command: []string{"migrate"}}, append(slices.Clone(once), "/entry"), []string{"migrate"}},
		"an entrypoint under the supervisor": {watched, []string{"serve"}, OneOff{Entrypoint: []string{"sh"}, Command: []string{"-c", "x"}}, append(slices.Clone(once), "sh"), []string{"-c", "x"}},
		"the service's own, supervised":      {watched, []string{"serve"}, OneOff{}, append(slices.Clone(once), "/entry"), []string{"serve"}},
		"a program that has -- of its own":   {[]string{"/entry", "--", "x"}, nil, OneOff{Command: []string{"y"}}, []string{"/entry", "--", "x"}, []string{"y"}},
		"an init that does not restart":      {append(slices.Clone(once), "/entry"), nil, OneOff{Command: []string{"y"}}, append(slices.Clone(once), "/entry"), []string{"y"}},
	} {
		t.Run(name, func(t *testing.T) {
			container := corev1.Container{Command: c.command, Args: c.args}
			applyOneOff(&container, c.oneOff)
			if !slices.Equal(container.Command, c.wantCommand) || !slices.Equal(container.Args, c.wantArgs) {
				t.Errorf("%q %q, want %q %q", container.Command, container.Args, c.wantCommand, c.wantArgs)
			}
		})
	}
}
