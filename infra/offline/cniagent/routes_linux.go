package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A network is this node's, with what was last done to it.
type network struct {
	conf     config
	routes   map[netip.Prefix]netip.Addr // other nodes' pods -> their node
	cni      string                      // the CNI configuration on disk
	masked   bool                        // the masquerading rule is there
	policies string                      // the rules of the network policies
}

// forget makes the next turn do everything again.
func (n *network) forget() { *n = network{conf: n.conf, routes: n.routes} }

// syncRoutes writes the CNI configuration, the masquerading rule and a route
// to each other node's pods.
func (n *network) syncRoutes(ctx context.Context, nodes []node) error {
	want := map[netip.Prefix]netip.Addr{}
	for _, x := range nodes {
		cidr, err := netip.ParsePrefix(x.Spec.PodCIDR)
		if err != nil {
			continue // not given one yet
		}
		if x.Metadata.Name == n.conf.node {
			if err := n.writeCNI(cidr); err != nil {
				return err
			}
			continue
		}
		if ip, ok := x.internalIP(); ok {
			want[cidr] = ip
		}
	}
	if !n.masked {
		if err := nft(ctx, masqueradeRules(n.conf.podSubnet)); err != nil {
			return err
		}
		n.masked = true
	}
	var errs []error
	for cidr, via := range want {
		errs = append(errs, ip(ctx, "route", "replace", cidr.String(), "via", via.String()))
	}
	for cidr, via := range n.routes {
		if _, still := want[cidr]; !still {
			if err := ip(ctx, "route", "del", cidr.String(), "via", via.String()); err != nil {
				log.Printf("a route that is no longer needed: %v", err)
			}
		}
	}
	n.routes = want
	return errors.Join(errs...)
}

// masqueradeRules hide pods behind the node's address when they talk to
// anything but pods.
func masqueradeRules(podSubnet string) string {
	return fmt.Sprintf(`
table ip berth-cni
delete table ip berth-cni
table ip berth-cni {
	chain postrouting {
		type nat hook postrouting priority srcnat + 5; policy accept;
		ip saddr %[1]s ip daddr != %[1]s ip daddr != 224.0.0.0/4 masquerade
	}
}
`, podSubnet)
}

// writeCNI tells containerd how to connect pods, once the node has its range.
func (n *network) writeCNI(cidr netip.Prefix) error {
	type object map[string]any
	raw, err := json.MarshalIndent(object{
		"cniVersion": "0.4.0",
		"name":       "berth",
		"plugins": []object{
			{
				"type": "ptp", "ipMasq": false, "mtu": outerMTU(),
				"ipam": object{
					"type": "host-local", "dataDir": "/run/cni-ipam-state",
					"routes": []object{{"dst": "0.0.0.0/0"}},
					"ranges": [][]object{{{"subnet": cidr.String()}}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil || string(raw) == n.cni {
		return err
	}
	path := filepath.Join(n.conf.cniDir, "10-berth.conflist")
	// Renamed into place: containerd watches the folder.
	if err := errors.Join(os.WriteFile(path+".part", raw, 0o644), os.Rename(path+".part", path)); err != nil {
		return err
	}
	n.cni = string(raw)
	return nil
}

// outerMTU is the MTU of the interface that leads to the other nodes.
func outerMTU() int {
	const usual = 1500
	i, err := net.InterfaceByName("eth0")
	if err != nil {
		return usual
	}
	return i.MTU
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// nft applies rules in one transaction.
func nft(ctx context.Context, rules string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
