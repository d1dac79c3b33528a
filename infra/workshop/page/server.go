package page

import (
	"context"
	"crypto/subtle"
	"html/template"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/workshop"
	"github.com/berth-dev/berth/templates"
)

// A Server serves the pages of one started workshop. What it shows it reads
// anew for every request: the command line may have changed it.
type Server struct {
	name      string
	options   workshop.Options
	templates *template.Template
	assets    fs.FS
}

// New serves the workshop that was started under a name.
func New(name string, o workshop.Options) (*Server, error) {
	assets, err := fs.Sub(templates.Workshop, "workshop/page")
	if err != nil {
		return nil, err
	}
	t, err := template.ParseFS(assets, "*.html")
	if err != nil {
		return nil, err
	}
	return &Server{name: name, options: o, templates: t, assets: assets}, nil
}

// Handler answers requests to one of hosts (127.0.0.1:8090) only. What a visitor
// began goes on when the visitor is gone, and ends with serving.
func (s *Server) Handler(serving context.Context, hosts ...string) http.Handler {
	mux := http.NewServeMux()
	for _, asset := range []string{"style.css", "script.js"} {
		mux.HandleFunc("GET /assets/"+asset, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, s.assets, asset)
		})
	}
	mux.HandleFunc("GET /{token}/{$}", s.with(s.show))
	mux.HandleFunc("GET /{token}/step/{step}", s.with(s.show))
	mux.HandleFunc("GET /{token}/step/{step}/files/{path...}", s.with(s.forLearner(s.file)))
	mux.HandleFunc("GET /{token}/live", s.with(s.forLearner(s.showLive)))
	mux.HandleFunc("GET /{token}/overview", s.with(forInstructor(s.showOverview)))
	mux.HandleFunc("POST /{token}/broadcast", s.with(forInstructor(s.broadcast)))
	mux.HandleFunc("POST /{token}/reset/{learner}", s.with(lasting(serving, forInstructor(s.resetLearner))))
	mux.HandleFunc("POST /{token}/{act}", s.with(lasting(serving, s.forLearner(s.act))))
	return guarded(mux, hosts)
}

// guarded refuses what does not come from a page of this server: a request under
// another name (DNS rebinding), or a change that another site asks for.
func guarded(next http.Handler, hosts []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(hosts, r.Host) {
			http.Error(w, "this name does not lead here; use the address that `berth workshop serve` printed", http.StatusMisdirectedRequest)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Header.Get("Origin") != "http://"+r.Host {
			http.Error(w, "only the workshop's own pages may change anything", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer") // the address holds the token
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// A visit is one request of somebody whose token is known.
type visit struct {
	run        workshop.Run
	learner    string // "" for the instructor
	token      string
	instructor bool
}

// A handler answers a visit; what it returns the visitor is told.
type handler func(http.ResponseWriter, *http.Request, visit) error

// with finds out who asks. An unknown token is told nothing.
func (s *Server) with(handle handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		run, err := s.options.Store.Load(s.name)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		v, ok := identify(run, r.PathValue("token"))
		if !ok {
			http.NotFound(w, r)
			return
		}
		if err := handle(w, r, v); err != nil {
			s.fail(w, r, err)
		}
	}
}

// lasting gives a handler a context that does not end with the request: a step
// that is set up or reset half way helps nobody who reloads the page.
func lasting(serving context.Context, handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, v visit) error {
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		defer cancel()
		defer context.AfterFunc(serving, cancel)()
		return handle(w, r.WithContext(ctx), v)
	}
}

// forLearner answers learners alone, with their way through the workshop.
func (s *Server) forLearner(handle func(http.ResponseWriter, *http.Request, visit, *workshop.Session) error) handler {
	return func(w http.ResponseWriter, r *http.Request, v visit) error {
		if v.instructor {
			http.NotFound(w, r)
			return nil
		}
		session, err := s.session(v)
		if err != nil {
			return err
		}
		return handle(w, r, v, session)
	}
}

// forInstructor answers the instructor alone.
func forInstructor(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, v visit) error {
		if !v.instructor {
			http.NotFound(w, r)
			return nil
		}
		return handle(w, r, v)
	}
}

func identify(run workshop.Run, token string) (visit, bool) {
	same := func(secret string) bool {
		return secret != "" && subtle.ConstantTimeCompare([]byte(secret), []byte(token)) == 1
	}
	v, ok := visit{run: run, token: token}, false
	if same(run.Token) {
		v.instructor, ok = true, true
	}
	for _, l := range run.Learners {
		if same(l.Token) {
			v.learner, ok = l.Name, true
		}
	}
	return v, ok
}

// session is the visitor's way through the workshop.
func (s *Server) session(v visit) (*workshop.Session, error) {
	return workshop.NewSession(v.run, v.learner, s.options)
}

// fail answers with an error, and what can be done about it.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	a := answer{Class: "bad", Title: "That did not work", Output: err.Error(), Hint: problem.Hint(err)}
	if wantsJSON(r) {
		s.reply(w, a)
		return
	}
	text := a.Output
	if a.Hint != "" {
		text += "\nTry: " + a.Hint
	}
	http.Error(w, text, http.StatusInternalServerError)
}

func wantsJSON(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Accept"), "application/json")
}
