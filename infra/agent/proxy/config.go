package proxy

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
)

// Config is all a proxy is told, the content of its configuration file.
type Config struct {
	// Generation names this version of the configuration. It comes back in the
	// line that says that the configuration is in force.
	Generation string  `json:"generation"`
	Nodes      []Node  `json:"nodes"`
	Routes     []Route `json:"routes"`
}

// Node is a machine that answers on every route's NodePort: a name that DNS
// knows or an address.
type Node string

// Route leads what arrives at Listen to NodePort of the nodes.
type Route struct {
	Protocol string `json:"protocol"` // tcp or udp
	Listen   string `json:"listen"`   // host:port; the host may be empty
	NodePort int    `json:"nodePort"`
}

// key tells listeners apart: a route with the same key keeps its listener
// when the configuration changes.
func (r Route) key() string { return r.Protocol + "/" + r.Listen }

// Read reads and checks a configuration file.
func Read(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.check(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c Config) check() error {
	seen := map[string]bool{}
	for i, r := range c.Routes {
		if r.Protocol != "tcp" && r.Protocol != "udp" {
			return fmt.Errorf("routes[%d]: protocol %q is neither tcp nor udp", i, r.Protocol)
		}
		if _, _, err := net.SplitHostPort(r.Listen); err != nil {
			return fmt.Errorf("routes[%d]: listen: %w", i, err)
		}
		if r.NodePort < 1 || r.NodePort > 65535 {
			return fmt.Errorf("routes[%d]: %d is not a port", i, r.NodePort)
		}
		if seen[r.key()] {
			return fmt.Errorf("routes[%d]: %s is listed twice", i, r.key())
		}
		seen[r.key()] = true
	}
	if len(c.Routes) > 0 && len(c.Nodes) == 0 {
		return fmt.Errorf("there are routes but no nodes")
	}
	return nil
}

// Status is one line that the proxy prints, as JSON.
type Status struct {
	Generation string `json:"generation,omitempty"` // of the configuration that was read
	Ready      bool   `json:"ready,omitempty"`      // every route of it listens
	Error      string `json:"error,omitempty"`      // why not
	Note       string `json:"note,omitempty"`       // something else worth a line
}
