package docker

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// A process that reads a file of an image may be killed: the next one removes
// the container that it left, and none that is being read.
func TestContainersOfKilledReadersAreRemoved(t *testing.T) {
	now := time.Now()
	var removed []string
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			w.Header().Set("API-Version", "1.45")
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/containers/json"):
			if !strings.Contains(r.URL.Query().Get("filters"), labelReader) {
				t.Errorf("asked for %s", r.URL)
			}
			_ = json.NewEncoder(w).Encode([]map[string]any{
				{"Id": "left", "Names": []string{"/left"}, "Created": now.Add(-time.Hour).Unix()},
				{"Id": "busy", "Names": []string{"/busy"}, "Created": now.Unix()},
			})
		case r.Method == http.MethodDelete:
			removed = append(removed, r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer engine.Close()
	c, err := Connect(t.Context(), "tcp://"+strings.TrimPrefix(engine.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.removeReaders(t.Context(), now.Add(-readWithin)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(removed, []string{"left"}) {
		t.Errorf("removed %v", removed)
	}
}
