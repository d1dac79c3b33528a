package translate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/infra/testneed"
	"github.com/berth-dev/berth/translate"
)

// apiServer asks a real API server what it thinks of objects.
type apiServer struct {
	url    string
	client *http.Client
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	raw, err := os.ReadFile(testneed.APIServer(t))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Clusters []struct{ Cluster struct{ Server string } }
	}
	if err := yaml.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	return &apiServer{url: config.Clusters[0].Cluster.Server, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 8, //nolint:gosec // the test's own server on loopback
	}}}
}

// resources are the plural names of the kinds that translate makes.
var resources = map[string]string{
	"Namespace": "namespaces", "PersistentVolume": "persistentvolumes", "PersistentVolumeClaim": "persistentvolumeclaims",
	"ConfigMap": "configmaps", "Secret": "secrets", "Service": "services", "NetworkPolicy": "networkpolicies", "Ingress": "ingresses",
	"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Job": "jobs", "CronJob": "cronjobs",
	"HorizontalPodAutoscaler": "horizontalpodautoscalers",
}

// apply sends an object by strict server-side apply, without storing it when
// dry, and returns what the server has against it.
func (s *apiServer) apply(ctx context.Context, o translate.Object, dry bool) error {
	gvk := o.GetObjectKind().GroupVersionKind()
	url := s.url + "/apis/" + gvk.Group + "/" + gvk.Version
	if gvk.Group == "" {
		url = s.url + "/api/" + gvk.Version
	}
	if ns := o.GetNamespace(); ns != "" {
		url += "/namespaces/" + ns
	}
	url += "/" + resources[gvk.Kind] + "/" + o.GetName() + "?fieldManager=berth&force=true&fieldValidation=Strict"
	if dry {
		url += "&dryRun=All"
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/apply-patch+yaml")
	req.Header.Set("Authorization", "Bearer test-token")
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		var status struct{ Message string }
		if json.Unmarshal(answer, &status) != nil {
			status.Message = string(answer)
		}
		return fmt.Errorf("%s/%s: %s", gvk.Kind, o.GetName(), status.Message)
	}
	return nil
}

// check applies a result: the namespace for real, the rest dry.
func (s *apiServer) check(t *testing.T, r translate.Result) {
	t.Helper()
	var wait sync.WaitGroup
	for _, o := range r.Objects() {
		if o.GetObjectKind().GroupVersionKind().Kind == "Namespace" {
			if err := s.apply(t.Context(), o, false); err != nil {
				t.Error(err)
			}
		}
	}
	slots := make(chan struct{}, 4)
	for _, o := range r.Objects() {
		slots <- struct{}{}
		wait.Go(func() {
			if err := s.apply(t.Context(), o, true); err != nil {
				t.Error(err)
			}
			<-slots
		})
	}
	wait.Wait()
}

func TestAPIServerAcceptsTheCorpus(t *testing.T) {
	server := newAPIServer(t)
	for name, in := range corpus(t) {
		for kind, target := range targets() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				r, err := translate.Translate(in, target)
				if err != nil {
					t.Fatal(err)
				}
				server.check(t, r)
			})
		}
	}
}

func TestAPIServerAcceptsEveryConceptAndCombination(t *testing.T) {
	server := newAPIServer(t)
	inputs := goldenInputs(t)
	for i, in := range combinations(t, 60) {
		in.Project.Name = fmt.Sprintf("combination-%d", i)
		inputs[in.Project.Name] = in
	}
	for i, row := range attributeRows(t) {
		in, _ := row.read(t)
		in.Project.Name = fmt.Sprintf("row-%d", i)
		inputs[in.Project.Name] = in
	}
	for i, row := range regressions(t) {
		in, err := row.read(t)
		if err != nil {
			t.Fatalf("%s: %v", row.Name, err)
		}
		in.Project.Name = fmt.Sprintf("regression-%d", i)
		inputs[in.Project.Name] = in
	}
	for name, in := range inputs {
		for kind, target := range targets() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				server.check(t, mustTranslate(t, in, target))
			})
		}
	}
}
