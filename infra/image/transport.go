package image

import (
	"crypto/tls"
	"net/http"
)

// transport is how registries are reached. Only one that is named insecure is
// spared the check of its certificate.
func transport(insecure bool) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if insecure {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the user named this registry insecure
	}
	return t
}
