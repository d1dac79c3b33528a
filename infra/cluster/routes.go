package cluster

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// podSubnet is where the pods' addresses are: kind's default, said aloud
// because the nodes' routes rely on it.
const podSubnet = "10.244.0.0/16"

// deadPodsUnit is a systemd unit by which a node refuses packets to addresses
// that no pod has. The CNI plugins of kind and of the offline kit give each pod a
// route of its own and take it away with the pod; what kube-proxy still sends
// there until it has heard of that, a second or so, would follow the node's
// default route out of the cluster, to be lost or even answered by somebody
// else. "prohibit" (ip-route(8)) is the one route type whose ICMP answer ends
// UDP sockets, too (ICMP_PKT_FILTERED is a hard error, icmp(7)): a client learns
// at once that it must try again.
const deadPodsUnit = `[Unit]
Description=Refuse packets to pods that are gone
After=network.target

[Service]
Type=oneshot
ExecStart=ip route replace prohibit ` + podSubnet + `

[Install]
WantedBy=multi-user.target
`

const deadPodsName = "berth-dead-pods.service"

// refuseDeadPods installs the unit in a running node, for now and for every
// start to come.
func (m *Manager) refuseDeadPods(ctx context.Context, n Node) error {
	err := m.engine.WriteFile(ctx, n.ID, "/etc/systemd/system/"+deadPodsName, 0o644, []byte(deadPodsUnit))
	if err != nil {
		return fmt.Errorf("install %s in node %q: %w", deadPodsName, n.Name, err)
	}
	var output bytes.Buffer
	code, err := m.engine.Exec(ctx, n.ID, []string{"systemctl", "enable", "--now", deadPodsName}, nil, &output, &output)
	if err == nil && code != 0 {
		err = fmt.Errorf("systemctl: exit status %d: %s", code, strings.TrimSpace(output.String()))
	}
	if err != nil {
		return fmt.Errorf("start %s in node %q: %w", deadPodsName, n.Name, err)
	}
	return nil
}
