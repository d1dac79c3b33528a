package cluster

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// Where the addresses of pods and of Services are: kind's defaults, said aloud
// because the nodes' rules rely on them.
const (
	podSubnet     = "10.244.0.0/16"
	serviceSubnet = "10.96.0.0/16"
)

// A unit is a systemd unit that berth adds to nodes, for every start to come.
type unit struct {
	name, text string
	now        bool // begins at once, too
}

// nobody is a unit by which a node refuses packets to addresses that no pod or
// Service has.
//
// The CNI plugins of kind and of the offline kit give each pod a route of its own and
// take it away with the pod; what kube-proxy still sends there until it has heard of
// that, a second or so, would follow the node's default route out of the cluster, to
// be lost or even answered by somebody else. "prohibit" (ip-route(8)) is the one route
// type whose ICMP answer ends UDP sockets, too (ICMP_PKT_FILTERED is a hard error,
// icmp(7)): a client learns at once that it must try again.
//
// What a node forwards to the address of a Service is what kube-proxy has not led to
// a pod. Before kube-proxy has made its rules, when a node starts, that would be lost,
// too: CoreDNS tried to reach the API server for half a minute.
var nobody = unit{name: "berth-nobody.service", now: true, text: `[Unit]
Description=Refuse packets to pods and Services that are not there
After=network.target
Before=kubelet.service

[Service]
Type=oneshot
ExecStart=ip route replace prohibit ` + podSubnet + `
ExecStart=sh -c "iptables -C ` + toNoService + ` 2>/dev/null || iptables -I ` + toNoService + `"

[Install]
WantedBy=multi-user.target
`}

const toNoService = `FORWARD -d ` + serviceSubnet + ` -j REJECT`

// manifestsDir is where the kubelet of a control plane finds its static pods.
const manifestsDir = "/etc/kubernetes/manifests"

// quickStaticPods is a unit by which a control plane that is started again has its
// API server, etcd, controller manager and scheduler ready as soon as they answer.
// kubeadm's startup probes ask for the first time after ten seconds, and a kubelet
// that has just started shifts them by up to ten more. The threshold keeps its four
// minutes. To a kubelet that runs this would be another pod to be started in place of
// the one that runs, so it is done before it starts.
var quickStaticPods = unit{name: "berth-quick-static-pods.service", text: `[Unit]
Description=Ask the control plane every second whether it has started
Before=kubelet.service
ConditionDirectoryNotEmpty=` + manifestsDir + `

[Service]
Type=oneshot
ExecStart=sh -c "` + quickProbes + `"

[Install]
WantedBy=multi-user.target
`}

const quickProbes = `sed -i '/startupProbe:/,/timeoutSeconds:/ { s/initialDelaySeconds: 10/initialDelaySeconds: 1/; ` +
	`s/periodSeconds: 10/periodSeconds: 1/; s/failureThreshold: .*/failureThreshold: 240/ }' ` + manifestsDir + `/*.yaml`

// addUnits adds the units that a running node should have.
func (m *Manager) addUnits(ctx context.Context, n Node) error {
	units := []unit{nobody}
	if n.Role == roleControlPlane {
		units = append(units, quickStaticPods)
	}
	for _, u := range units {
		if err := m.engine.WriteFile(ctx, n.ID, "/etc/systemd/system/"+u.name, 0o644, []byte(u.text)); err != nil {
			return fmt.Errorf("install %s in node %q: %w", u.name, n.Name, err)
		}
		command := []string{"systemctl", "enable", u.name}
		if u.now {
			command = append(command, "--now")
		}
		var output bytes.Buffer
		code, err := m.engine.Exec(ctx, n.ID, command, nil, &output, &output)
		if err == nil && code != 0 {
			err = fmt.Errorf("systemctl: exit status %d: %s", code, strings.TrimSpace(output.String()))
		}
		if err != nil {
			return fmt.Errorf("enable %s in node %q: %w", u.name, n.Name, err)
		}
	}
	return nil
}
