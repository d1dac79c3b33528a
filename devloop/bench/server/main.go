// Command server is what the bench watches being changed: it serves the files
// that a sync replaces, and the version it had when it started.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/berth-dev/berth/devloop/bench/tree"
)

func main() {
	boot := read("/boot/version") // sync+restart
	layer := read("/layer/app")   // rebuild: the version is its beginning
	mux := http.NewServeMux()
	mux.HandleFunc("/live", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, read("/live/version")) })
	mux.HandleFunc("/boot", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, boot) })
	mux.HandleFunc("/layer", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, layer) })
	mux.HandleFunc("/tree", func(w http.ResponseWriter, _ *http.Request) {
		digest, err := tree.Digest("/tree")
		if err != nil { // files come and go while they are synced
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		fmt.Fprint(w, digest)
	})
	server := http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	select {
	case err := <-ended:
		log.Fatal(err)
	case <-told: // what it has begun to answer it answers
		_ = server.Shutdown(context.Background())
	}
}

// read returns the first 16 bytes of a file, which hold a version.
func read(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	version := make([]byte, 16)
	n, err := f.Read(version)
	if err != nil {
		return err.Error()
	}
	return string(version[:n])
}
