package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/infra/problem"
)

// FieldManager is the name under which berth owns fields of objects.
const FieldManager = "berth"

// retryFor is how long a request goes on against an API server that answered
// before and does not now: it may be restarting.
const retryFor = 20 * time.Second

// Client talks to the API server of one cluster. It is safe for concurrent
// use.
type Client struct {
	context string
	config  *rest.Config
	rest    *rest.RESTClient
	scheme  *runtime.Scheme
	seen    atomic.Bool // the server has answered this client

	mu    sync.Mutex
	kinds map[schema.GroupKind]Resource
}

// New makes a client for a context of a kubeconfig file. An empty file name
// means KUBECONFIG or ~/.kube/config, an empty context the current one. It
// does not connect.
func New(kubeconfig, context string) (*Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, unusable(rules, context, err)
	}
	return newClient(config, context)
}

// unusable says why a kubeconfig gives no client for context.
func unusable(rules *clientcmd.ClientConfigLoadingRules, context string, err error) error {
	config, broken := rules.Load()
	switch {
	case broken != nil:
		return problem.New("read the kubeconfig", broken, "mend the file, or name another with KUBECONFIG")
	case context != "" && config.Contexts[context] == nil:
		err = errors.New("there is none of that name")
	}
	what, hint := "read the kubeconfig", "`berth up` makes the cluster that the project asks for, `berth cluster create` a plain one; `--context` names another"
	if context != "" {
		what = fmt.Sprintf("find context %q in the kubeconfig", context)
	}
	if context != "" && !strings.HasPrefix(context, "kind-") {
		hint = "name a context that it has, or another file with KUBECONFIG"
		if names := slices.Sorted(maps.Keys(config.Contexts)); len(names) > 0 {
			hint = "it has: " + strings.Join(names, ", ")
		}
	}
	return problem.New(what, err, hint)
}

func newClient(config *rest.Config, context string) (*Client, error) {
	config.QPS = -1 // the API server shares itself out; a client-side limit only adds delay
	config.UserAgent = "berth"
	config.WarningHandler = rest.NoWarnings{}

	scheme := newScheme()
	unversioned := rest.CopyConfig(config)
	unversioned.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	unversioned.ContentType = runtime.ContentTypeJSON
	unversioned.GroupVersion = &schema.GroupVersion{Version: "v1"}
	api, err := rest.UnversionedRESTClientFor(unversioned)
	if err != nil {
		return nil, problem.New(fmt.Sprintf("use context %q", context), err, "correct its entry in the kubeconfig")
	}
	return &Client{context: context, config: config, rest: api, scheme: scheme, kinds: builtinKinds()}, nil
}

// Context is the name of the kubeconfig context, "" for the current one.
func (c *Client) Context() string { return c.context }

// Server is the API server's URL.
func (c *Client) Server() string { return c.config.Host }

// do sends one request, made anew by build for every attempt, and returns the
// body and the HTTP status of the answer. Only requests that may be repeated
// go through it.
func (c *Client) do(ctx context.Context, build func() *rest.Request) ([]byte, int, error) {
	started := time.Now()
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 2*time.Second) {
		var status int
		result := build().Do(ctx)
		result.StatusCode(&status)
		err := result.Error()
		if err == nil {
			c.seen.Store(true)
			body, err := result.Raw()
			return body, status, err
		}
		if ctx.Err() != nil {
			return nil, status, ctx.Err()
		}
		if !passing(err) || !c.seen.Load() || time.Since(started) > retryFor {
			return nil, status, c.explain(err)
		}
		if err := sleep(ctx, delay); err != nil {
			return nil, 0, err
		}
	}
}

// explain turns an error of the connection into a Problem and leaves what the
// API server said as it is.
func (c *Client) explain(err error) error {
	if apierrors.ReasonForError(err) != metav1.StatusReasonUnknown || !networkTrouble(err) {
		return err
	}
	hint := "check that the cluster runs: kubectl --context " + c.context + " get nodes"
	if name, ok := strings.CutPrefix(c.context, "kind-"); ok {
		hint = "start the cluster again with `berth cluster start " + name + "`; `berth doctor` says what is wrong"
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // which of many requests failed says nothing
	}
	return problem.New(fmt.Sprintf("reach the API server of %q at %s", c.context, c.config.Host), err, hint)
}

// passing reports whether an error is likely to go away by itself.
func passing(err error) bool {
	if apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err) {
		return true
	}
	if apierrors.IsInternalError(err) {
		return strings.Contains(err.Error(), "etcdserver: ") // its leader changed, or it was slow
	}
	return networkTrouble(err)
}

// networkTrouble reports whether the connection failed, not the request.
func networkTrouble(err error) bool {
	var netErr net.Error
	if errors.As(err, &netErr) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	text := err.Error()
	for _, sign := range []string{"connection refused", "connection reset", "EOF", "http2: client connection lost", "broken pipe", "http2: server sent GOAWAY"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// sleep waits, or returns the context's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Ready returns nil when the API server says that it is ready.
func (c *Client) Ready(ctx context.Context) error {
	if err := c.rest.Get().AbsPath("/readyz").MaxRetries(0).Do(ctx).Error(); err != nil {
		return c.explain(err)
	}
	c.seen.Store(true)
	return nil
}

// Version is the Kubernetes version of the API server: v1.36.3.
func (c *Client) Version(ctx context.Context) (string, error) {
	var v struct{ GitVersion string }
	err := c.getJSON(ctx, "/version", &v)
	return v.GitVersion, err
}

// HTTPClient returns a client that authenticates as this one does, for
// requests outside the API's objects.
func (c *Client) HTTPClient() (*http.Client, error) { return rest.HTTPClientFor(c.config) }
