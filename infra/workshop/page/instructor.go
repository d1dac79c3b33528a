package page

import (
	"net/http"
	"time"

	"github.com/berth-dev/berth/infra/workshop"
)

// instructorPage is what the instructor's template shows.
type instructorPage struct {
	Title, Token, Cluster, Time string
	Started                     int64
	Rows                        []row
	Messages                    []message
}

// A row is how far one learner has come.
type row struct {
	Class, Name, Token string
	Step, Steps, Done  int
	StepTitle, Since   string
	Check, Output      string
}

func (s *Server) showInstructor(w http.ResponseWriter, v visit) error {
	page, err := s.instructorPage(v)
	if err != nil {
		return err
	}
	return s.render(w, "instructor", page)
}

// showOverview sends the part of the instructor's page that changes.
func (s *Server) showOverview(w http.ResponseWriter, _ *http.Request, v visit) error {
	page, err := s.instructorPage(v)
	if err != nil {
		return err
	}
	return s.render(w, "overview", page)
}

func (s *Server) instructorPage(v visit) (instructorPage, error) {
	page := instructorPage{Token: v.token, Cluster: v.run.Cluster, Started: v.run.Started.Unix(), Messages: messages(v.run)}
	for _, l := range v.run.Learners {
		session, err := workshop.NewSession(v.run, l.Name, s.options)
		if err != nil {
			return page, err
		}
		p, err := session.Progress()
		if err != nil {
			return page, err
		}
		page.Title, page.Time = session.Workshop.Title, span(session.Workshop.Time)
		r := row{
			Name: l.Name, Token: l.Token, Step: p.Step + 1, StepTitle: session.Workshop.Steps[p.Step].Title,
			Steps: len(session.Workshop.Steps), Done: len(p.Done),
		}
		if !p.Entered.IsZero() {
			r.Since = s.options.Now().Sub(p.Entered).Round(time.Second).String()
		}
		if p.Last != nil {
			a := answerOf(p.Last.Verb, p.Last.Outcome)
			r.Check, r.Output = a.Title, a.Output
			if a.Class == "bad" {
				r.Class = "failing"
			}
		}
		page.Rows = append(page.Rows, r)
	}
	return page, nil
}
