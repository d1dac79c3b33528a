package translate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
)

// nginxAnnotation is the prefix of the annotations of class nginx, which both
// controllers of berth understand.
const nginxAnnotation = "nginx.ingress.kubernetes.io/"

// route is one way through the Ingress to a unit.
type route struct {
	hosts       []string // sorted
	paths       []string // sorted; "/" for everything
	strip       []string // prefixes that are taken off before the request is passed on
	port        int
	tls         string // name of the Secret, "" for none
	annotations map[string]string
	exact       []string // those of paths that have nothing below them
}

// isPath reports whether the API server takes s as the path of an Ingress.
func isPath(s string) bool {
	if !strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/..") || strings.HasSuffix(s, "/.") {
		return false
	}
	return !slices.ContainsFunc([]string{"//", "/./", "/../", "%2f", "%2F"}, func(bad string) bool { return strings.Contains(s, bad) })
}

// httpPorts are ports that speak HTTP unless something says otherwise, the
// likeliest first.
var httpPorts = []int{
	80, 8080, 3000, 8000, 5000, 8081, 8888, 9000, 4200, 5173, 4000, 3001, 8001, 8082, 8083, 8084, 8085, 8086, 8088, 8089, 8090, 8091, 8095, 8096, 8099, 8008, 8010, 8070, 8100,
	81, 82, 88, 591, 1313, 1337, 1880, 2283, 2368, 3002, 3003, 3030, 3100, 3333, 4173, 4321, 4567, 5001, 5055, 5080, 5601, 5678, 6006, 6080, 6767, 6875, 7000, 7070, 7474, 7575, 7860, 7878,
	8065, 8123, 8181, 8200, 8222, 8265, 8384, 8501, 8581, 8686, 8787, 8983, 8989, 9001, 9080, 9090, 9091, 9093, 9117, 9200, 9411, 9696, 10000, 13378, 15672, 16686, 19999, 25600, 32400,
	443, 8443, 9443,
}

// routesOf decides which routes the Ingress has to u.
func (t *translator) routesOf(u *unit) []route {
	if t.target.Ingress == "none" || u.host.kind == none || u.host.kind == cronJob || u.svc.NetworkMode == "none" {
		return nil
	}
	var out []route
	if len(u.hints.Host) > 0 || u.hints.Port != nil || u.hints.Path != "" || u.hints.TLSSecret != "" {
		if port := t.httpPort(u, true); port != 0 {
			r := route{hosts: u.hints.Host, port: port, tls: u.hints.TLSSecret, annotations: t.backend(u, port)}
			if u.hints.Path != "" {
				r.paths = []string{u.hints.Path}
			}
			if len(r.hosts) == 0 {
				r.hosts = []string{t.defaultHost(u)}
			}
			return []route{r.tidy()}
		}
		t.report.dropped(u.path+"."+extension, "no Ingress: no port of the service is known", "set x-berth.port")
	}
	out = append(out, t.labelledRoutes(u)...)
	if len(out) == 0 && !u.guarded || t.owned() { // names of the internet do not lead to a laptop
		port := t.httpPort(u, false)
		if port == 0 && len(out) > 0 {
			port = out[0].port
		}
		if port != 0 {
			out = append(out, route{hosts: []string{t.defaultHost(u)}, port: port, annotations: t.backend(u, port)})
		}
	}
	for i := range out {
		out[i] = out[i].tidy()
	}
	return out
}

// tidy sorts hosts and paths and drops repetitions.
func (r route) tidy() route {
	r.hosts = union(r.hosts, nil)
	r.paths = union(r.paths, nil)
	if len(r.paths) == 0 {
		r.paths = []string{"/"}
	}
	return r
}

// defaultHost is <service>.<project>.<domain>.
func (t *translator) defaultHost(u *unit) string {
	domain := t.target.IngressDomain
	if domain == "" {
		domain = "localhost"
	}
	return u.kube + "." + shorten(sanitize(t.project.Name), t.project.Name, maxLabel) + "." + domain
}

// httpPort picks the port of u that the Ingress leads to, 0 for none: one that
// says it speaks HTTP, else the likeliest of the published ones. Asked for a
// route that the user wants (wanted), it takes what there is.
func (t *translator) httpPort(u *unit, wanted bool) int {
	if u.hints.Port != nil {
		return *u.hints.Port
	}
	candidates := u.ports.ready
	if wanted && len(candidates) == 0 {
		candidates = u.ports.known
	}
	best, bestRank := 0, len(httpPorts)+2
	for _, p := range candidates {
		if p.protocol != "tcp" {
			continue
		}
		rank := slices.Index(httpPorts, p.number)
		switch {
		case speaksHTTP(p):
			rank = -1
		case rank < 0 && t.healthURL(u, p.number), rank < 0 && wanted:
			rank = len(httpPorts)
		case rank < 0:
			continue
		}
		if rank < bestRank {
			best, bestRank = p.number, rank
		}
	}
	return best
}

// speaksHTTP reports whether a port's own name or protocol says HTTP.
func speaksHTTP(p knownPort) bool {
	switch strings.TrimPrefix(p.appProtocol, "kubernetes.io/") {
	case "http", "https", "http2", "ws", "wss", "h2c", "grpc":
		return true
	}
	return strings.Contains(p.name, "http") || p.name == "web"
}

// healthURL reports whether the health check of u asks the port by HTTP.
func (t *translator) healthURL(u *unit, port int) bool {
	h := u.svc.HealthCheck
	if h == nil {
		return false
	}
	for _, host := range []string{"localhost", "127.0.0.1", "0.0.0.0", u.name} {
		url := fmt.Sprintf("://%s:%d", host, port)
		for _, text := range h.Test {
			if at := strings.Index(text, url); at >= 4 && strings.Contains(text[max(0, at-5):at], "http") {
				return true
			}
		}
	}
	return false
}

// anySize lets requests be as large as a published port lets them be. Clusters
// that berth made have no limit; elsewhere nginx's is 1 MiB.
func (t *translator) anySize(annotations map[string]string) {
	if !t.owned() {
		annotations[nginxAnnotation+"proxy-body-size"] = "0"
	}
}

// backend returns the annotations that a port's own protocol asks for. Some
// ports are known to speak HTTPS when nothing says otherwise.
func (t *translator) backend(u *unit, port int) map[string]string {
	if protocol := protocolAt(u, port); protocol == "" && (port == 443 || port == 8443 || port == 9443) {
		return t.backendFor(u, port, "https")
	}
	return t.backendFor(u, port, "")
}

// protocolAt is the application protocol that the project gives a port of u.
func protocolAt(u *unit, port int) string {
	for _, p := range u.ports.known {
		if p.number == port && p.protocol == "tcp" {
			return strings.TrimPrefix(p.appProtocol, "kubernetes.io/")
		}
	}
	return ""
}

// backendFor returns the annotations for a port that speaks a protocol, "" for
// the port's own.
func (t *translator) backendFor(u *unit, port int, protocol string) map[string]string {
	out := map[string]string{}
	if protocol == "" {
		protocol = protocolAt(u, port)
	}
	switch protocol {
	case "https", "wss":
		out[nginxAnnotation+"backend-protocol"] = "HTTPS"
	case "grpc", "h2c":
		out[nginxAnnotation+"backend-protocol"] = "GRPC"
	case "grpcs":
		out[nginxAnnotation+"backend-protocol"] = "GRPCS"
	}
	t.anySize(out)
	if protocol == "ws" || protocol == "wss" {
		out[nginxAnnotation+"proxy-read-timeout"] = "3600"
		out[nginxAnnotation+"proxy-send-timeout"] = "3600"
	}
	return out
}

// ingresses returns the Ingress objects of u, one a route: annotations hold
// for a whole object.
func (t *translator) ingresses(u *unit) []Object {
	var out []Object
	for i, r := range u.routes {
		name := u.kube
		if i > 0 {
			name = t.kubeNames.within(maxSubdomain).take(suffixed(u.kube, fmt.Sprintf("-route-%d", i+1), maxSubdomain))
		}
		in := &networkingv1.Ingress{TypeMeta: typeMeta("networking.k8s.io/v1", "Ingress"), ObjectMeta: t.meta(name, u)}
		annotations := maps.Clone(r.annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		maps.Copy(annotations, in.Annotations)
		backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
			Name: u.ready, Port: networkingv1.ServiceBackendPort{Number: int32(r.port)},
		}}
		var paths []networkingv1.HTTPIngressPath
		for _, p := range r.paths {
			kind := networkingv1.PathTypePrefix
			if slices.Contains(r.exact, p) {
				kind = networkingv1.PathTypeExact
			}
			if r.prefixOf(p) != "" {
				kind = networkingv1.PathTypeImplementationSpecific
				p = r.pattern(p)
				annotations[nginxAnnotation+"use-regex"] = "true"
				annotations[nginxAnnotation+"rewrite-target"] = "/$2"
			}
			paths = append(paths, networkingv1.HTTPIngressPath{Path: p, PathType: &kind, Backend: backend})
		}
		in.Spec.IngressClassName = ptr("nginx")
		for _, host := range r.hosts {
			in.Spec.Rules = append(in.Spec.Rules, networkingv1.IngressRule{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{
				HTTP: &networkingv1.HTTPIngressRuleValue{Paths: paths},
			}})
		}
		if r.tls != "" {
			in.Spec.TLS = []networkingv1.IngressTLS{{Hosts: r.hosts, SecretName: r.tls}}
		}
		in.Annotations = nil
		if len(annotations) > 0 {
			in.Annotations = annotations
		}
		out = append(out, in)
	}
	return out
}

// urls returns where the Ingress of an owned cluster serves u.
func (t *translator) urls(u *unit) []string {
	if !t.owned() {
		return nil
	}
	port := ""
	if t.target.HTTPPort != 0 && t.target.HTTPPort != 80 {
		port = fmt.Sprintf(":%d", t.target.HTTPPort)
	}
	var out []string
	for _, r := range u.routes {
		for _, host := range r.hosts {
			if strings.HasPrefix(host, "*.") {
				continue
			}
			for _, p := range r.paths {
				if r.tls != "" {
					out = append(out, "https://"+host+p)
				} else {
					out = append(out, "http://"+host+port+p)
				}
			}
		}
	}
	return out
}

// routed reports whether the Ingress leads to a port of u.
func (u *unit) routed(port int) bool {
	return slices.ContainsFunc(u.routes, func(r route) bool { return r.port == port })
}
