package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

// A client reads from the API server with the pod's service account.
type client struct {
	http   *http.Client
	server string
}

func newClient(server string) (*client, error) {
	ca, err := os.ReadFile(serviceAccount + "ca.crt")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the service account's ca.crt holds no certificate")
	}
	// Reads time out when a connection dies without a word: the API server
	// sends a bookmark about once a minute.
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 10 * time.Second}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DialContext: dialer.DialContext,
		ResponseHeaderTimeout: 30 * time.Second, ForceAttemptHTTP2: false,
	}
	return &client{http: &http.Client{Transport: transport}, server: "https://" + server}, nil
}

func (c *client) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	token, err := os.ReadFile(serviceAccount + "token") // read each time: it is renewed
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", path, resp.Status)
	}
	return resp.Body, nil
}

// An object is one of the kinds the agent watches.
type object interface{ meta() meta }

func (n node) meta() meta      { return n.Metadata }
func (n namespace) meta() meta { return n.Metadata }
func (p pod) meta() meta       { return p.Metadata }
func (p policy) meta() meta    { return p.Metadata }

// A collection is the objects of one kind as they are now.
type collection[T object] struct {
	path string

	mu    sync.Mutex
	known bool // it has been listed once
	items map[string]T
}

func (c *collection[T]) all() ([]T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := slices.Sorted(maps.Keys(c.items))
	items := make([]T, 0, len(keys))
	for _, k := range keys {
		items = append(items, c.items[k])
	}
	return items, c.known
}

func key(m meta) string { return m.Namespace + "/" + m.Name }

// follow keeps the collection up to date until ctx ends.
func (c *collection[T]) follow(ctx context.Context, api *client, changed chan<- struct{}) {
	for ctx.Err() == nil {
		err := c.listAndWatch(ctx, api, changed)
		if ctx.Err() == nil {
			log.Printf("%s: %v; listing it again", c.path, err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
}

func (c *collection[T]) listAndWatch(ctx context.Context, api *client, changed chan<- struct{}) error {
	version, err := c.list(ctx, api)
	if err != nil {
		return err
	}
	notify(changed)
	for {
		version, err = c.watch(ctx, api, version, changed)
		if err != nil {
			return err
		}
	}
}

func (c *collection[T]) list(ctx context.Context, api *client) (version string, err error) {
	body, err := api.get(ctx, c.path, url.Values{})
	if err != nil {
		return "", err
	}
	defer body.Close()
	var list struct {
		Metadata meta `json:"metadata"`
		Items    []T  `json:"items"`
	}
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		return "", err
	}
	items := map[string]T{}
	for _, i := range list.Items {
		items[key(i.meta())] = i
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items, c.known = items, true
	return list.Metadata.ResourceVersion, nil
}

// watch follows changes since version until the server ends the stream, and
// returns the version to go on from.
func (c *collection[T]) watch(ctx context.Context, api *client, version string, changed chan<- struct{}) (string, error) {
	body, err := api.get(ctx, c.path, url.Values{
		"watch": {"true"}, "resourceVersion": {version}, "allowWatchBookmarks": {"true"}, "timeoutSeconds": {"300"},
	})
	if err != nil {
		return "", err
	}
	defer body.Close()
	// A connection can die without a word; the stream is ended by the server
	// after timeoutSeconds at the latest, so one that goes on longer is dead.
	dead := time.AfterFunc(330*time.Second, func() { body.Close() })
	defer dead.Stop()
	dec := json.NewDecoder(body)
	for {
		var event struct {
			Type   string `json:"type"`
			Object T      `json:"object"`
		}
		if err := dec.Decode(&event); errors.Is(err, io.EOF) {
			return version, nil
		} else if err != nil {
			return "", err
		}
		m := event.Object.meta()
		if event.Type == "ERROR" {
			return "", errors.New("the watch is too old")
		}
		version = m.ResourceVersion
		if event.Type == "BOOKMARK" {
			continue
		}
		c.mu.Lock()
		if event.Type == "DELETED" {
			delete(c.items, key(m))
		} else {
			c.items[key(m)] = event.Object
		}
		c.mu.Unlock()
		notify(changed)
	}
}

// A watched cluster is kept up to date by goroutines.
type watched struct {
	nodes      collection[node]
	pods       collection[pod]
	namespaces collection[namespace]
	policies   collection[policy]
}

// A cluster is what the agent knows at one moment.
type cluster struct {
	nodes         []node
	nodesKnown    bool
	pods          []pod
	namespaces    []namespace
	policies      []policy
	policiesKnown bool // and pods and namespaces
}

func watchCluster(ctx context.Context, api *client, changed chan<- struct{}) *watched {
	w := &watched{}
	w.nodes.path, w.pods.path, w.namespaces.path = "/api/v1/nodes", "/api/v1/pods", "/api/v1/namespaces"
	w.policies.path = "/apis/networking.k8s.io/v1/networkpolicies"
	go w.nodes.follow(ctx, api, changed)
	go w.pods.follow(ctx, api, changed)
	go w.namespaces.follow(ctx, api, changed)
	go w.policies.follow(ctx, api, changed)
	return w
}

func (w *watched) snapshot() cluster {
	var c cluster
	var podsKnown, namespacesKnown, policiesKnown bool
	c.nodes, c.nodesKnown = w.nodes.all()
	c.pods, podsKnown = w.pods.all()
	c.namespaces, namespacesKnown = w.namespaces.all()
	c.policies, policiesKnown = w.policies.all()
	c.policiesKnown = podsKnown && namespacesKnown && policiesKnown
	return c
}
