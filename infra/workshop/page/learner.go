package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/workshop"
)

// learnerPage is what the learner's template shows.
type learnerPage struct {
	Title, Token, Learner, Namespace, Time string
	Started                                int64 // seconds since 1970
	Steps                                  []stepLink
	Current, Shown, Done                   int // steps, from 1
	IsCurrent                              bool
	Shell                                  string // what gives a shell the learner's environment
	Text                                   template.HTML
	Answer                                 answer
	Messages                               []message
	Live                                   live
}

type stepLink struct {
	Number               int
	Title                string
	Done, Current, Shown bool
}

type message struct{ At, Text string }

// An answer is what became of something the visitor asked for.
type answer struct {
	Class  string // good, bad; "" for none yet
	Title  string
	Output string
	Hint   string
}

// show shows a step: the learner's own, or another to read.
func (s *Server) show(w http.ResponseWriter, r *http.Request, v visit) error {
	if v.instructor {
		return s.showInstructor(w, v)
	}
	session, err := s.session(v)
	if err != nil {
		return err
	}
	p, err := session.Progress()
	if err != nil {
		return err
	}
	shown := p.Step
	if text := r.PathValue("step"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > len(session.Workshop.Steps) {
			http.NotFound(w, r)
			return nil
		}
		shown = n - 1
	}
	page, err := s.learnerPage(session, p, shown, v)
	if err != nil {
		return err
	}
	page.Live = s.live(r.Context(), session)
	return s.render(w, "learner", page)
}

func (s *Server) learnerPage(session *workshop.Session, p workshop.Progress, shown int, v visit) (learnerPage, error) {
	workshopText := session.Workshop
	page := learnerPage{
		Title: workshopText.Title, Token: v.token, Learner: session.Learner.Name, Namespace: session.Learner.Namespace,
		Time: span(workshopText.Time), Started: v.run.Started.Unix(),
		Current: p.Step + 1, Shown: shown + 1, Done: len(p.Done), IsCurrent: shown == p.Step, Messages: messages(v.run),
		Shell: session.ShellLine(),
	}
	for i, st := range workshopText.Steps {
		_, done := p.Done[i]
		page.Steps = append(page.Steps, stepLink{Number: i + 1, Title: st.Title, Done: done, Current: i == p.Step, Shown: i == shown})
	}
	source, err := workshopText.Text(workshopText.Steps[shown])
	if err != nil {
		return page, err
	}
	if page.Text, err = markdown(source, fmt.Sprintf("/%s/step/%d/files/", v.token, shown+1)); err != nil {
		return page, err
	}
	if page.IsCurrent && p.Last != nil && p.Last.Step == p.Step {
		page.Answer = answerOf(p.Last.Verb, p.Last.Outcome)
	}
	return page, nil
}

// span is a time as a person writes it: 2h, 1h30m.
func span(s workshop.Span) string {
	if s == 0 {
		return ""
	}
	d := s.Duration().Round(time.Minute)
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

func messages(run workshop.Run) []message {
	var all []message
	for _, m := range run.Messages {
		all = append(all, message{m.At.Local().Format("15:04"), m.Text})
	}
	return all
}

// answerOf says in a heading what a check or a reset came to.
func answerOf(verb string, o workshop.Outcome) answer {
	a := answer{Class: "good", Title: "Done", Output: o.Output}
	switch {
	case verb == "reset":
		a.Title = "You are at the beginning of this step"
	case !o.OK:
		a.Class, a.Title = "bad", "Not yet"
		if o.TimedOut {
			a.Title = "The check did not come to an end"
		}
		if o.Output == "" || o.TimedOut {
			a.Output = strings.TrimPrefix(o.Output+"\n"+o.Why, "\n")
		}
	}
	return a
}

// act does what one of the learner's buttons says.
func (s *Server) act(w http.ResponseWriter, r *http.Request, v visit, session *workshop.Session) error {
	ctx, home := r.Context(), "/"+v.token+"/"
	var a answer
	moved := false
	switch r.PathValue("act") {
	case "check":
		o, err := session.Check(ctx, nil)
		if err != nil {
			return err
		}
		a = answerOf("check", o)
	case "solve":
		o, err := session.Solve(ctx, nil)
		if err != nil {
			return err
		}
		a = answerOf("check", o)
	case "next":
		o, on, err := session.Next(ctx, nil)
		if err != nil {
			return err
		}
		if a, moved = answerOf("check", o), on; o.OK && !moved {
			a.Title = "Done: that was the last step. You have finished the workshop."
		}
	case "back":
		if err := session.Back(ctx); err != nil {
			return err
		}
		moved = true
	case "reset":
		if err := session.Reset(ctx, nil); err != nil {
			return err
		}
		a = answerOf("reset", workshop.Outcome{OK: true})
	default:
		http.NotFound(w, r)
		return nil
	}
	if !wantsJSON(r) {
		http.Redirect(w, r, home, http.StatusSeeOther)
		return nil
	}
	if moved {
		return s.send(w, reply{Go: home})
	}
	s.reply(w, a)
	return nil
}

// A reply is what the script gets for a button.
type reply struct {
	Go    string `json:"go,omitempty"` // go there
	Class string `json:"class"`
	HTML  string `json:"html"`
}

// reply sends an answer to the script.
func (s *Server) reply(w http.ResponseWriter, a answer) {
	var out bytes.Buffer
	if err := s.templates.ExecuteTemplate(&out, "answer", a); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = s.send(w, reply{Class: a.Class, HTML: out.String()}) // a visitor who is gone needs none
}

func (s *Server) send(w http.ResponseWriter, v reply) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// render sends a page, whole or not at all.
func (s *Server) render(w http.ResponseWriter, name string, data any) error {
	var out bytes.Buffer
	if err := s.templates.ExecuteTemplate(&out, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = out.WriteTo(w) // a visitor who is gone needs none
	return nil
}

// broadcast tells all learners something.
func (s *Server) broadcast(w http.ResponseWriter, r *http.Request, v visit) error {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := s.options.Store.Broadcast(s.name, r.PostFormValue("text"), s.options.Now()); err != nil {
		return err
	}
	return s.done(w, r, v, "Told everybody")
}

// resetLearner takes a learner back to the beginning of his or her step.
func (s *Server) resetLearner(w http.ResponseWriter, r *http.Request, v visit) error {
	session, err := workshop.NewSession(v.run, r.PathValue("learner"), s.options)
	if err != nil {
		return err
	}
	if err := session.Reset(r.Context(), nil); err != nil {
		return err
	}
	return s.done(w, r, v, session.Learner.Name+" is at the beginning of the step")
}

func (s *Server) done(w http.ResponseWriter, r *http.Request, v visit, title string) error {
	if !wantsJSON(r) {
		http.Redirect(w, r, "/"+v.token+"/", http.StatusSeeOther)
		return nil
	}
	s.reply(w, answer{Class: "good", Title: title})
	return nil
}
