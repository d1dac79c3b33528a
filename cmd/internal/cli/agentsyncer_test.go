package cli

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

func TestNodesThatCannotHaveTheAgent(t *testing.T) {
	node := func(system, runtime string) []corev1.Node {
		return []corev1.Node{{Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{OperatingSystem: system, ContainerRuntimeVersion: runtime}}}}
	}
	for name, c := range map[string]struct {
		nodes []corev1.Node
		want  string // in the error; "" for none
	}{
		"containerd":           {node("linux", "containerd://2.1.0"), ""},
		"another runtime":      {node("linux", "cri-o://1.33.0"), "the agent knows containerd alone"},
		"another system":       {node("windows", "containerd://2.1.0"), "runs windows"},
		"they may not be seen": {nil, "are not known"},
	} {
		err := fitForAgent(c.nodes)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// awayNodes have an agent that cannot be reached.
type awayNodes struct{}

func (awayNodes) Node(context.Context, string) (*agent.Node, error) {
	return nil, errors.New("no route to it")
}

func TestSyncGoesOnWithTarWhenTheAgentIsLost(t *testing.T) {
	var execs int
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/pods/web-1/exec") {
			execs++
		}
		http.Error(w, "not here", http.StatusNotFound)
	}))
	defer api.Close()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"" + api.URL + "\"}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := kube.New(config, "c")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	s := &agentSyncer{
		tarSyncer: tarSyncer{&syncer{kube: client, namespace: "ns"}}, nodes: awayNodes{}, lost: map[string]bool{},
		events: func(e devloop.Event) { said = append(said, e.Why) },
	}
	pod := model.PodState{Name: "web-1", Node: "n1"}
	for range 2 {
		if err := s.Sync(t.Context(), pod, []model.FileSync{{Op: model.FileRemoved, Target: "/src/a"}}); err == nil {
			t.Fatal("nothing took the file")
		}
	}
	if execs == 0 {
		t.Error("tar was not tried")
	}
	if len(said) != 1 || !strings.Contains(said[0], `the agent on node "n1" cannot be reached, files are synced with tar: no route to it`) {
		t.Errorf("said: %q", said)
	}
}
