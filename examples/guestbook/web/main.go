// Command guestbook shows the entries of a guestbook that lives in Redis.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	greeting = "Welcome to the guestbook"
	listKey  = "entries"
	newest   = 50 // entries shown
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

type server struct {
	pool *redis.Pool
	host string
}

func main() {
	healthcheck := flag.Bool("healthcheck", false, "ask the running server whether it is well, and exit 0 or 1")
	flag.Parse()
	if *healthcheck {
		os.Exit(checkHealth("http://127.0.0.1:8080/healthz"))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	host, _ := os.Hostname()
	s := &server{pool: newPool(os.Getenv("REDIS_ADDR")), host: host}
	httpServer := &http.Server{Addr: ":8080", Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = httpServer.Shutdown(grace)
	}()
	log.Printf("guestbook listens on %s", httpServer.Addr)
	if err := httpServer.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}

func newPool(addr string) *redis.Pool {
	return &redis.Pool{MaxIdle: 4, IdleTimeout: time.Minute, Dial: func() (redis.Conn, error) {
		return redis.Dial("tcp", addr, redis.DialConnectTimeout(2*time.Second), redis.DialReadTimeout(2*time.Second))
	}}
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.show)
	mux.HandleFunc("POST /{$}", s.sign)
	mux.HandleFunc("GET /healthz", s.health)
	return mux
}

func (s *server) show(w http.ResponseWriter, r *http.Request) {
	conn := s.pool.Get()
	defer conn.Close()
	entries, err := redis.Strings(conn.Do("LRANGE", listKey, 0, newest-1))
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, map[string]any{"Greeting": greeting, "Entries": entries, "Host": s.host}); err != nil {
		log.Print(err)
	}
}

func (s *server) sign(w http.ResponseWriter, r *http.Request) {
	entry := r.FormValue("entry")
	if entry == "" {
		http.Error(w, "entry is empty", http.StatusBadRequest)
		return
	}
	conn := s.pool.Get()
	defer conn.Close()
	if _, err := conn.Do("LPUSH", listKey, entry); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *server) health(w http.ResponseWriter, r *http.Request) {
	conn := s.pool.Get()
	defer conn.Close()
	if _, err := conn.Do("PING"); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// checkHealth is the image's health check: the image has no shell and no curl.
func checkHealth(url string) int {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return 1
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}
