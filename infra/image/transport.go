package image

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
)

// transport is how registries are reached. Only one that is named insecure is
// spared the check of its certificate, and may speak plain HTTP.
func transport(insecure bool) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if insecure {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the user named this registry insecure
		return t
	}
	return httpsOnly{t}
}

// httpsOnly refuses plain HTTP but to this very machine, as engines do.
// go-containerregistry on its own would speak it to any private address.
type httpsOnly struct{ next http.RoundTripper }

var errPlainHTTP = errors.New("the registry would be spoken to in plain HTTP")

func (t httpsOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if host := r.URL.Hostname(); r.URL.Scheme == "http" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return nil, errPlainHTTP
	}
	return t.next.RoundTrip(r)
}
