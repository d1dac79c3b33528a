package cluster

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
)

const container = `{"args":["main"],"cwd":"/srv","env":["A=1"],"rlimits":[{"hard":18446744073709551615}],"terminal":false,"user":{"additionalGids":[0,10],"gid":0,"uid":0,"umask":18}}`

func TestAProcessIsTheContainersOwnButForWhatIsAsked(t *testing.T) {
	for _, c := range []struct {
		exec NodeExec
		o    kube.ExecOptions
		want string
	}{
		{NodeExec{}, kube.ExecOptions{Command: []string{"id"}},
			`{"args":["id"],"cwd":"/srv","env":["A=1"],"rlimits":[{"hard":18446744073709551615}],"terminal":false,"user":{"additionalGids":[0,10],"gid":0,"uid":0,"umask":18}}`},
		{NodeExec{User: &docker.User{Uid: 7, Gid: 8, Sgids: []int{9}}, Dir: "/", Env: []string{"B=2"}}, kube.ExecOptions{Command: []string{"id"}, TTY: true},
			`{"args":["id"],"cwd":"/","env":["A=1","B=2"],"rlimits":[{"hard":18446744073709551615}],"terminal":true,"user":{"additionalGids":[9],"gid":8,"uid":7,"umask":18}}`},
		{NodeExec{User: &docker.User{Uid: 7, Gid: 8}}, kube.ExecOptions{Command: []string{"id"}},
			`{"args":["id"],"cwd":"/srv","env":["A=1"],"rlimits":[{"hard":18446744073709551615}],"terminal":false,"user":{"additionalGids":null,"gid":8,"uid":7,"umask":18}}`},
	} {
		var process map[string]any
		d := json.NewDecoder(strings.NewReader(container))
		d.UseNumber()
		if err := d.Decode(&process); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(c.exec.change(process, c.o))
		if err != nil || string(got) != c.want {
			t.Errorf("%v\ngot  %s\nwant %s", err, got, c.want)
		}
	}
}
