package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/problem"
)

func TestReasonsLeaveOutTracesAndInformation(t *testing.T) {
	text := `failed to init node with kubeadm: exit status 1
[kubelet-check] Waiting for a healthy kubelet
I1122 16:50:31.000000     248 round_trippers.go:560] GET https://x:6443/healthz
error execution phase wait-control-plane: the kubelet is not healthy after 4m0s
k8s.io/kubernetes/cmd/kubeadm/app/cmd.newCmdInit.func1
	k8s.io/kubernetes@v1.36.3/cmd/kubeadm/app/cmd/init.go:134
runtime.goexit
	runtime/asm_amd64.s:1771`
	want := []string{
		"failed to init node with kubeadm: exit status 1", "[kubelet-check] Waiting for a healthy kubelet",
		"error execution phase wait-control-plane: the kubelet is not healthy after 4m0s",
	}
	if got := reasons(text); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestCreateProblemKnowsSomeCauses(t *testing.T) {
	for text, want := range map[string]string{
		"inotify: too many open files":          "fs.inotify.max_user_instances",
		"Bind: port is already allocated":       "--http-port",
		"write layer: no space left on device":  "docker builder prune",
		"kubeadm does not know what went wrong": "berth doctor",
	} {
		err := createProblem(Spec{Name: "x"}, errors.New(text))
		if !strings.Contains(err.Error(), text) || !strings.Contains(problem.Hint(err), want) {
			t.Errorf("%q: %v, hint %q", text, err, problem.Hint(err))
		}
	}
}
