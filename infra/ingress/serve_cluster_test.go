package ingress_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// soon is how long a new Ingress may take to be served. Measured: 50 to 270 ms
// on two busy cores.
const soon = 3 * time.Second

// TestTheControllerServesIngresses asks the shared test cluster's controller,
// over the host's port, for a backend that is this very test.
func TestTheControllerServesIngresses(t *testing.T) {
	s := newStage(t)
	t.Run("a new one at once, and a removed one no more", func(t *testing.T) {
		for i := range 3 {
			host := fmt.Sprintf("new%d.berth-ingress.localhost", i)
			key := s.route(t, host, "/", networkingv1.PathTypePrefix)
			took := s.until(t, host, "/", http.StatusOK)
			s.remove(t, key)
			gone := s.until(t, host, "/", http.StatusNotFound)
			t.Logf("served after %v, gone after %v", took, gone)
		}
	})
	t.Run("path types", func(t *testing.T) {
		const host = "paths.berth-ingress.localhost"
		s.route(t, host, "/exact", networkingv1.PathTypeExact)
		s.route(t, host, "/prefix", networkingv1.PathTypePrefix)
		s.until(t, host, "/exact", http.StatusOK)
		s.until(t, host, "/prefix", http.StatusOK)
		for path, want := range map[string]int{
			"/exact/more": http.StatusNotFound, "/prefix/more": http.StatusOK, "/prefixed": http.StatusNotFound, "/": http.StatusNotFound,
		} {
			if got, _ := s.get(t, host, path); got != want {
				t.Errorf("%s: status %d, want %d", path, got, want)
			}
		}
		if _, body := s.get(t, host, "/prefix/a%20b?q=1"); body != "paths.berth-ingress.localhost /prefix/a%20b?q=1" {
			t.Errorf("the backend saw %q", body)
		}
	})
	t.Run("large bodies", func(t *testing.T) {
		const host = "bodies.berth-ingress.localhost"
		s.route(t, host, "/", networkingv1.PathTypePrefix)
		s.until(t, host, "/", http.StatusOK)
		body := bytes.Repeat([]byte("x"), 20<<20)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url("/count"), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || string(text) != fmt.Sprint(len(body)) {
			t.Errorf("status %d, the backend counted %q bytes, %v", response.StatusCode, text, err)
		}
	})
	t.Run("web sockets", func(t *testing.T) {
		const host = "sockets.berth-ingress.localhost"
		s.route(t, host, "/", networkingv1.PathTypePrefix)
		s.until(t, host, "/", http.StatusOK)
		s.echo(t, host)
	})
}

// A stage is a namespace of the test cluster with a Service that leads to a
// server in this process.
type stage struct {
	kube      *kube.Client
	project   *apply.Project
	namespace string
	port      int // of the ingress on 127.0.0.1
	routes    int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	name, kubeContext := testneed.Cluster(t)
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	info, err := cluster.New(engine, t.TempDir()).Status(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{kube: client, namespace: "berth-ingress-test", port: info.HTTPPort()}
	s.project = apply.New(client, "", s.namespace, progress.Discard)
	t.Cleanup(func() {
		if _, err := s.project.Delete(context.WithoutCancel(t.Context()), true); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	address, port := serve(t, info.Nodes[0].IP)
	s.apply(t, &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: "here", Namespace: s.namespace},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(port)}}},
	}, &discoveryv1.EndpointSlice{
		TypeMeta:    metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta:  metav1.ObjectMeta{Name: "here-1", Namespace: s.namespace, Labels: map[string]string{discoveryv1.LabelServiceName: "here"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: &port, Protocol: new(corev1.ProtocolTCP)}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}},
	})
	return s
}

// serve starts the backend where pods can reach it: on this host's address in
// the nodes' network.
func serve(t *testing.T, node netip.Addr) (address string, port int32) {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || !prefix.Contains(node) {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(prefix.Addr().String(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(backend)}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
		return prefix.Addr().String(), int32(l.Addr().(*net.TCPAddr).Port)
	}
	t.Skip("needs docker: an engine on this very host, whose pods can reach the test")
	return "", 0
}

func backend(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Upgrade") != "":
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(conn, rw) // echo
	case r.URL.Path == "/count":
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	default:
		fmt.Fprintf(w, "%s %s", r.Host, r.RequestURI)
	}
}

func (s *stage) apply(t *testing.T, objects ...model.Object) {
	t.Helper()
	if _, err := s.project.Apply(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
}

// route creates an Ingress of class nginx to the backend.
func (s *stage) route(t *testing.T, host, path string, pathType networkingv1.PathType) model.ObjectKey {
	t.Helper()
	s.routes++
	name := fmt.Sprintf("route%d", s.routes)
	s.apply(t, &networkingv1.Ingress{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace},
		Spec: networkingv1.IngressSpec{
			IngressClassName: new("nginx"),
			Rules: []networkingv1.IngressRule{{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{
				HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
					Path: path, PathType: &pathType,
					Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
						Name: "here", Port: networkingv1.ServiceBackendPort{Number: 80},
					}},
				}}},
			}}},
		},
	})
	return model.ObjectKey{Group: "networking.k8s.io", Kind: "Ingress", Namespace: s.namespace, Name: name}
}

func (s *stage) remove(t *testing.T, key model.ObjectKey) {
	t.Helper()
	if err := s.kube.Delete(t.Context(), key, kube.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (s *stage) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", s.port, path) }

func (s *stage) get(t *testing.T, host, path string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// until asks again and again until the status is the one wanted, and says how
// long that took.
func (s *stage) until(t *testing.T, host, path string, want int) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		got, _ := s.get(t, host, path)
		if took := time.Since(start); got == want {
			return took
		} else if took > soon {
			t.Fatalf("http://%s%s: status %d after %v, want %d", host, path, got, took, want)
		}
	}
}

// echo opens a connection as a web socket does and sends bytes both ways.
func (s *stage) echo(t *testing.T, host string) {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host)
	r := bufio.NewReader(conn)
	status, err := r.ReadString('\n')
	if err != nil || !strings.Contains(status, " 101 ") {
		t.Fatalf("%q, %v", status, err)
	}
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprint(conn, "ahoy\n")
	if line, err := r.ReadString('\n'); err != nil || line != "ahoy\n" {
		t.Errorf("echo %q, %v", line, err)
	}
}
