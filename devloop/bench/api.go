package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"
)

// An api is a cluster's API server as the bench needs it: to list pods and to
// ask each of them, whatever stands in front of them. It shares nothing with berth.
type api struct {
	server string
	http   *http.Client
}

// connect reads the kubeconfig for a context that kind has made, whose user and
// cluster have its name.
func connect(name string) (*api, error) {
	path := os.Getenv("KUBECONFIG")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(home, ".kube", "config")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config struct {
		Clusters []struct {
			Name    string
			Cluster struct {
				Server string
				CA     string `json:"certificate-authority-data"`
			}
		}
		Users []struct {
			Name string
			User struct {
				Cert string `json:"client-certificate-data"`
				Key  string `json:"client-key-data"`
			}
		}
	}
	if err := yaml.Unmarshal(raw, &config); err != nil {
		return nil, err
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	a := &api{}
	for _, c := range config.Clusters {
		if c.Name == name {
			ca, err := base64.StdEncoding.DecodeString(c.Cluster.CA)
			if err != nil {
				return nil, err
			}
			a.server = c.Cluster.Server
			tlsConfig.RootCAs.AppendCertsFromPEM(ca)
		}
	}
	for _, u := range config.Users {
		if u.Name != name {
			continue
		}
		cert, err1 := base64.StdEncoding.DecodeString(u.User.Cert)
		key, err2 := base64.StdEncoding.DecodeString(u.User.Key)
		pair, err3 := tls.X509KeyPair(cert, key)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		tlsConfig.Certificates = append(tlsConfig.Certificates, pair)
	}
	if a.server == "" {
		return nil, fmt.Errorf("the kubeconfig has no cluster %q: berth cluster create makes one", name)
	}
	a.http = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: tlsConfig, MaxIdleConnsPerHost: 16}}
	return a, nil
}

func (a *api) get(ctx context.Context, path string) ([]byte, error) {
	return a.do(ctx, http.MethodGet, path)
}

func (a *api) delete(ctx context.Context, path string) error {
	_, err := a.do(ctx, http.MethodDelete, path)
	return err
}

func (a *api) do(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.server+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return body, err
}

// pods lists the pods of a service that are not about to end.
func (a *api) pods(ctx context.Context, namespace, service string) ([]string, error) {
	raw, err := a.get(ctx, "/api/v1/namespaces/"+namespace+"/pods?labelSelector="+url.QueryEscape("com.docker.compose.service="+service))
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct {
			Metadata struct {
				Name    string
				Deleted string `json:"deletionTimestamp"`
			}
		}
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	var names []string
	for _, p := range list.Items {
		if p.Metadata.Deleted == "" {
			names = append(names, p.Metadata.Name)
		}
	}
	return names, nil
}

// ask sends a request to port 8080 of one pod.
func (a *api) ask(ctx context.Context, namespace, pod, path string) (string, error) {
	body, err := a.get(ctx, "/api/v1/namespaces/"+namespace+"/pods/"+pod+":8080/proxy"+path)
	return string(body), err
}
