package examples

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
)

// TestLearnersAreApart starts a small workshop for two learners and has the
// first try to see and to disturb the second, with what a learner has: the
// kubeconfig of `berth workshop env`.
func TestLearnersAreApart(t *testing.T) {
	testneed.Long(t)
	cluster, _ := testneed.Cluster(t)
	w := workshopPlayer{t: t, berth: testneed.Berth(t), state: t.TempDir()}
	dir := filepath.Join(t.TempDir(), "apart")
	w.must("workshop", "new", dir)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
		defer cancel()
		if out, err := w.command(ctx, "workshop", "stop").CombinedOutput(); err != nil {
			t.Errorf("workshop stop: %v\n%s", err, out)
		}
	})
	w.must("workshop", "start", dir, "--cluster", cluster, "--learners", "2")
	w.must("workshop", "solve", "--learner", "learner-1")
	w.must("workshop", "solve", "--learner", "learner-2")
	l := learner{t: t, env: w.exportsOf("apart", "learner-1")}
	other := "apart-learner-2"

	// What a learner may: everything in the namespace, and nothing at all outside.
	for _, tc := range []struct {
		verb string
		may  bool
	}{
		{"create deployments.apps", true}, {"get pods/log", true}, {"create pods/exec", true}, {"delete services", true},
		{"create ingresses.networking.k8s.io", true}, {"get secrets", true},
		{"delete networkpolicies.networking.k8s.io", false}, {"update resourcequotas", false}, {"update limitranges", false},
		{"create rolebindings.rbac.authorization.k8s.io", false}, {"update roles.rbac.authorization.k8s.io", false},
		{"create endpoints", false}, {"create endpointslices.discovery.k8s.io", false},
		{"get pods --namespace " + other, false}, {"create pods/exec --namespace " + other, false}, {"get secrets --namespace " + other, false},
		{"delete deployments.apps --namespace " + other, false}, {"list pods --all-namespaces", false}, {"list namespaces", false},
		{"list nodes", false}, {"create namespaces", false}, {"get secrets --namespace kube-system", false}, {"create clusterrolebindings", false},
	} {
		out, err := l.kubectl(append([]string{"auth", "can-i"}, strings.Fields(tc.verb)...)...)
		if may := err == nil; may != tc.may {
			t.Errorf("can-i %s: %v, want %v: %s", tc.verb, may, tc.may, out)
		}
	}

	// What is refused although the verb is allowed.
	for name, tc := range map[string]struct{ manifest, want string }{
		"a privileged pod":   {podManifest("p", "securityContext: {privileged: true}", ""), "violates PodSecurity"},
		"a host directory":   {podManifest("p", "", "volumes: [{name: h, hostPath: {path: /}}]"), "violates PodSecurity"},
		"the host's network": {podManifest("p", "", "hostNetwork: true"), "violates PodSecurity"},
		"more memory":        {podManifest("p", "resources: {limits: {memory: 2Gi}}", ""), "maximum memory usage"},
		"more of the disk":   {podManifest("p", "resources: {limits: {ephemeral-storage: 2Gi}}", ""), "maximum ephemeral-storage usage"},
		"all of the disk": {podManifest("p", "resources: {limits: {ephemeral-storage: 1Gi}, requests: {ephemeral-storage: 900Mi}}", "") + "---\n" +
			podManifest("q", "resources: {limits: {ephemeral-storage: 1Gi}, requests: {ephemeral-storage: 900Mi}}", ""), "exceeded quota"},
		"another's host, by an alias": {strings.Replace(ingressManifest("shop.learner-1.apart.localhost"), "metadata: {name: x}",
			"metadata: {name: x, annotations: {nginx.ingress.kubernetes.io/server-alias: learner-2.apart.localhost}}", 1), "the annotation server-alias"},
		"more than the quota": {podManifest("p", "resources: {requests: {cpu: '1900m'}, limits: {cpu: '2'}}", "") + "---\n" +
			podManifest("q", "resources: {requests: {cpu: '1900m'}, limits: {cpu: '2'}}", ""), "exceeded quota"},
		"another's host": {ingressManifest("learner-2.apart.localhost"), "every rule of an Ingress needs a host of yours"},
		"no host":        {ingressManifest(""), "every rule of an Ingress needs a host of yours"},
		"another's address": {"apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 80}], externalIPs: [10.0.0.1]}\n",
			"externalIPs would take other people's traffic"},
	} {
		if out, err := l.apply(tc.manifest); err == nil || !strings.Contains(out, tc.want) {
			t.Errorf("%s: %v, want %q: %s", name, err, tc.want, out)
		}
		if out, err := l.kubectl("delete", "pod", "p", "q", "--ignore-not-found", "--now"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	if out, err := l.apply(ingressManifest("shop.learner-1.apart.localhost")); err != nil {
		t.Errorf("a host of one's own: %v: %s", err, out)
	}

	// The network: one's own pods answer, another's do not.
	admin := learner{t: t, env: []string{"KUBECONFIG=" + os.Getenv("KUBECONFIG")}}
	address := func(namespace string) string {
		out, err := admin.kubectl("--context", "kind-"+cluster, "-n", namespace, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].status.podIP}")
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return out
	}
	fetch := func(ip string) (string, error) {
		return l.kubectl("exec", "deployment/web", "--", "curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "http://"+ip+"/")
	}
	if out, err := fetch(address("apart-learner-1")); err != nil || !strings.Contains(out, "200") {
		t.Errorf("a learner's own pod: %v: %s", err, out)
	}
	if out, err := fetch(address(other)); err == nil {
		t.Errorf("another learner's pod answers: %s", out)
	}
}

// A learner runs kubectl in an environment.
type learner struct {
	t   *testing.T
	env []string
}

func (l learner) kubectl(args ...string) (string, error) { return l.run("", args...) }

func (l learner) apply(manifest string) (string, error) { return l.run(manifest, "apply", "-f", "-") }

func (l learner) run(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Env = append(os.Environ(), l.env...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// exportsOf is the environment that `berth workshop env` gives a learner's shell.
func (w workshopPlayer) exportsOf(workshop, learner string) []string {
	var env []string
	for line := range strings.Lines(w.must("workshop", "env", "--workshop", workshop, "--learner", learner)) {
		key, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		env = append(env, key+"="+strings.Trim(value, "'"))
	}
	return env
}

func podManifest(name, container, spec string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  containers:\n    - name: c\n      image: nginx:1\n      %s\n  %s\n", name, container, spec)
}

func ingressManifest(host string) string {
	return fmt.Sprintf("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: x}\nspec:\n  ingressClassName: nginx\n  rules:\n    - host: %q\n"+
		"      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}\n", host)
}
