package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// clusterOf makes a cluster: pods web (node a), db (node a) and other (node b,
// namespace test), and one policy, given as JSON.
func clusterOf(t *testing.T, spec string) cluster {
	t.Helper()
	const pods = `[
	{"metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}}, "spec": {"nodeName": "a"}, "status": {"podIPs": [{"ip": "10.0.0.1"}]}},
	{"metadata": {"name": "db", "namespace": "shop", "labels": {"app": "db"}},
	 "spec": {"nodeName": "a", "containers": [{"ports": [{"name": "sql", "containerPort": 5432}]}]}, "status": {"podIPs": [{"ip": "10.0.0.2"}]}},
	{"metadata": {"name": "other", "namespace": "test", "labels": {"app": "web"}}, "spec": {"nodeName": "b"}, "status": {"podIPs": [{"ip": "10.0.1.1"}]}},
	{"metadata": {"name": "host", "namespace": "shop", "labels": {"app": "web"}}, "spec": {"nodeName": "a", "hostNetwork": true}, "status": {"podIPs": [{"ip": "172.18.0.2"}]}},
	{"metadata": {"name": "done", "namespace": "shop", "labels": {"app": "web"}}, "spec": {"nodeName": "a"}, "status": {"phase": "Succeeded", "podIPs": [{"ip": "10.0.0.9"}]}}]`
	c := cluster{policiesKnown: true}
	read := func(text string, into any) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	read(pods, &c.pods)
	read(`[{"metadata": {"name": "shop", "labels": {"team": "one"}}}, {"metadata": {"name": "test", "labels": {"team": "two"}}}]`, &c.namespaces)
	if spec != "" {
		read(`[{"metadata": {"name": "p", "namespace": "shop"}, "spec": `+spec+`}]`, &c.policies)
	}
	return c
}

func TestPolicyRules(t *testing.T) {
	cases := map[string]struct {
		spec  string
		chain string // of the pod db or web on node a
		want  string // its rules before the reject, one a line; "none" when there is no chain
	}{
		"no policy isolates nobody": {"", "in_10_0_0_2", "none"},
		"an empty policy denies all": {
			`{"podSelector": {"matchLabels": {"app": "db"}}}`, "in_10_0_0_2", "",
		},
		"pods that are not selected are free": {
			`{"podSelector": {"matchLabels": {"app": "db"}}}`, "in_10_0_0_1", "none",
		},
		"ingress policies leave egress free": {
			`{"podSelector": {"matchLabels": {"app": "db"}}}`, "out_10_0_0_2", "none",
		},
		"an empty rule allows everybody": {
			`{"podSelector": {}, "ingress": [{}]}`, "in_10_0_0_2", "return",
		},
		"pods of the same namespace, by number": {
			`{"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 5432}]}]}`,
			"in_10_0_0_2", "ip saddr { 10.0.0.1 } tcp dport 5432 return",
		},
		"a named port is the target's": {
			`{"podSelector": {}, "ingress": [{"ports": [{"port": "sql"}]}]}`, "in_10_0_0_2", "tcp dport 5432 return",
		},
		"a named port that the target lacks allows nothing": {
			`{"podSelector": {}, "ingress": [{"ports": [{"port": "sql"}]}]}`, "in_10_0_0_1", "",
		},
		"a namespace": {
			`{"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "two"}}}]}]}`,
			"in_10_0_0_2", "ip saddr { 10.0.1.1 } return",
		},
		"pods of any namespace": {
			`{"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}}]}]}`,
			"in_10_0_0_2", "ip saddr { 10.0.0.1, 10.0.1.1 } return",
		},
		"peers that match nobody allow nothing": {
			`{"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "none"}}}]}]}`, "in_10_0_0_2", "",
		},
		"a block with exceptions and a range of ports": {
			`{"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32"]}}], "ports": [{"protocol": "UDP", "port": 10, "endPort": 20}]}]}`,
			"in_10_0_0_2", "ip saddr 192.0.2.0/24 ip saddr != { 192.0.2.1/32 } udp dport 10-20 return",
		},
		"egress to a named port is each peer's": {
			`{"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {}}], "ports": [{"port": "sql"}]}]}`,
			"out_10_0_0_1", "ip daddr { 10.0.0.2 } tcp dport 5432 return",
		},
		"egress to one protocol": {
			`{"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"protocol": "UDP"}]}]}`,
			"out_10_0_0_1", "meta l4proto udp return",
		},
		"egress rules isolate without being named": {
			`{"podSelector": {}, "egress": [{}]}`, "out_10_0_0_1", "return",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rules := policyRules("a", clusterOf(t, c.spec))
			got := "none"
			if _, after, ok := strings.Cut(rules, "\tchain "+c.chain+" {\n"); ok {
				body, _, _ := strings.Cut(after, "\t}\n")
				var lines []string
				for line := range strings.Lines(body) {
					lines = append(lines, strings.TrimSpace(line))
				}
				if n := len(lines); n < 2 || lines[n-1] != "reject" || lines[n-2] != "meta l4proto tcp reject with tcp reset" {
					t.Fatalf("the chain does not end in reject:\n%s", body)
				}
				got = strings.Join(lines[:len(lines)-2], "\n")
			}
			if got != c.want {
				t.Errorf("chain %s:\n%s\nwant:\n%s", c.chain, got, c.want)
			}
		})
	}
}

func TestPodsWithoutAnAddressOfTheirOwnGetNoRules(t *testing.T) {
	rules := policyRules("a", clusterOf(t, `{"podSelector": {}}`))
	for _, addr := range []string{"172.18.0.2", "10.0.0.9", "10.0.1.1"} {
		if strings.Contains(rules, addr) {
			t.Errorf("rules for %s, which is on the node's network, ended or on another node:\n%s", addr, rules)
		}
	}
}

func TestSelectorExpressions(t *testing.T) {
	labels := map[string]string{"app": "web", "empty": ""}
	cases := map[string]bool{
		`{}`:                              true,
		`{"matchLabels": {"app": "web"}}`: true,
		`{"matchLabels": {"none": ""}}`:   false,
		`{"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}`: false,
		`{"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["x"]}]}`:  true,
		`{"matchExpressions": [{"key": "empty", "operator": "Exists"}]}`:                 true,
		`{"matchExpressions": [{"key": "empty", "operator": "DoesNotExist"}]}`:           false,
		`{"matchExpressions": [{"key": "none", "operator": "In", "values": [""]}]}`:      false,
	}
	for text, want := range cases {
		var s selector
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if got := s.matches(labels); got != want {
			t.Errorf("%s matches: %v, want %v", text, got, want)
		}
	}
}
