package docker

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// An engine may hang: whoever starts a command must be able to give up.
func TestStartOfAPipeEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{}, 1)
	deaf := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			w.Header().Set("API-Version", "1.45")
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice who hangs up
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer deaf.Close()
	engine, err := Connect(t.Context(), "tcp://"+strings.TrimPrefix(deaf.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := engine.Pipe(ctx, "node", []string{"sh"})
		ended <- err
	}()
	<-asked
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}
