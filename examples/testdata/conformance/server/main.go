// Command server is the test server of the compose conformance scenarios, for
// images FROM scratch: it says pong, fetches from other servers, reads files of
// /volumes, and remembers a datagram and the distinct values it was shown.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A server is what one instance remembers.
type server struct {
	mu     sync.Mutex
	udp    string          // the last datagram's request
	values map[string]bool // of /scalechecker
}

func main() {
	s := &server{values: map[string]bool{}}
	go s.datagrams()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", ping)
	mux.HandleFunc("GET /volumefile", volumeFile)
	mux.HandleFunc("GET /udp", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		respond(w, http.StatusOK, "response", s.udp)
	})
	mux.HandleFunc("GET /scalechecker", s.scaleChecker)
	port := os.Getenv("HTTP_PORT")
	if port == "" {
		port = "8080"
	}
	web := http.Server{Addr: ":" + port, Handler: mux, ReadTimeout: time.Minute, WriteTimeout: time.Minute}
	log.Fatal(web.ListenAndServe())
}

func respond(w http.ResponseWriter, status int, key, value string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{key: value})
}

// ping answers itself, or with what an address answers.
func ping(w http.ResponseWriter, r *http.Request) {
	address := r.URL.Query().Get("address")
	if address == "" {
		respond(w, http.StatusOK, "response", "PONG FROM TARGET")
		return
	}
	answer, err := http.Get("http://" + address)
	if err != nil {
		respond(w, http.StatusBadRequest, "response", "Could not reach address: "+address)
		return
	}
	defer answer.Body.Close()
	_, _ = io.Copy(w, answer.Body)
}

func volumeFile(w http.ResponseWriter, r *http.Request) {
	content, err := os.ReadFile(filepath.Join("/volumes", filepath.Base(r.URL.Query().Get("filename"))))
	if err != nil {
		respond(w, http.StatusInternalServerError, "message", "Internal Server Error")
		return
	}
	respond(w, http.StatusOK, "response", string(content))
}

func (s *server) scaleChecker(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value := r.URL.Query().Get("value"); value != "" {
		s.values[value] = true
	}
	respond(w, http.StatusOK, "response", fmt.Sprint(len(s.values)))
}

// datagrams remembers what arrives on UDP port 10001. One that is not JSON
// ends the server: nobody may send such a thing to find out whether it is there.
func (s *server) datagrams() {
	conn, err := net.ListenPacket("udp", ":10001")
	if err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 65535)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			log.Fatal(err)
		}
		var message struct{ Request string }
		if err := json.Unmarshal(buf[:n], &message); err != nil {
			log.Printf("datagram %q: %v", buf[:n], err)
			os.Exit(0)
		}
		s.mu.Lock()
		s.udp = message.Request
		s.mu.Unlock()
	}
}
