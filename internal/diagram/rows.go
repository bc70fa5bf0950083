package diagram

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
)

// summary is what the document begins with.
type summary struct {
	Servers  string
	Profile  string
	Began    string
	Took     string
	Requests int
	Outcome  string
	Failed   bool
}

// summarize tells in short what happened.
func summarize(events []handstamp.Event) (s summary) {
	var servers []string
	for _, e := range events {
		if e.Request != nil && e.Request.Status != 0 {
			s.Requests++
		}
		if !slices.Contains(servers, e.Server) {
			servers = append(servers, e.Server)
		}
		if e.Step == handstamp.StepLogin || e.Step == handstamp.StepRefresh {
			s.Outcome, s.Failed = e.Message, e.Error != ""
			if e.Error != "" {
				s.Outcome += ": " + e.Error
			}
		}
	}
	s.Servers = strings.Join(servers, ", ")
	if len(events) > 0 {
		first, last := events[0], events[len(events)-1]
		s.Profile = first.Profile
		s.Began = first.Time.UTC().Format("2006-01-02 15:04:05 UTC")
		s.Took = shortDuration(last.Time.Sub(first.Time))
	}
	return s
}

// rows returns the rows of the diagram.
func rows(events []handstamp.Event) []row {
	var all []row
	for _, e := range events {
		r := row{
			Time:  "+" + shortDuration(e.Time.Sub(events[0].Time)),
			Step:  strings.ReplaceAll(string(e.Step), "_", " "),
			Error: e.Error, Fields: e.Details,
		}
		switch {
		case e.Request != nil:
			r.Arrows = requestArrows(e)
		case e.Step == handstamp.StepStore && e.Error == "":
			a := arrow{From: application, To: store, Label: e.Message, Fields: e.Details}
			if e.Detail("took") == "" { // it was read
				a.From, a.To, a.Response = store, application, true
			}
			r.Arrows, r.Fields = []arrow{a}, nil
		case e.Step == handstamp.StepCallback && len(e.Details) > 0:
			back := arrow{From: browser, To: application, Label: e.Message, Fields: e.Details}
			r.Arrows, r.Fields = []arrow{back}, nil
		case e.Decision != nil:
			r.Note, r.Class = e.Message, "decision"
		default:
			r.Note, r.Class = e.Message, "message"
		}
		if e.Error != "" {
			r.Class += " failed"
		}
		all = append(all, r)
	}
	return all
}

// requestArrows returns the arrows of a request and its response.
func requestArrows(e handstamp.Event) []arrow {
	q := e.Request
	to := authorizationServer
	if e.Step == handstamp.StepServer || e.Step == handstamp.StepResourceMetadata {
		to = mcpServer
	}
	fields := slices.Concat(q.Params, q.Header)
	if q.AuthMethod != "" {
		by := handstamp.EventField{Name: "client authentication", Value: q.AuthMethod}
		fields = append(fields, by)
	}
	label := q.Method + " " + q.URL
	if q.Status == 0 && q.Duration == 0 && e.Error == "" { // the user's browser sends it
		return []arrow{
			{From: application, To: browser, Label: "opens the authorization URL"},
			{From: browser, To: to, Label: label, Fields: fields},
		}
	}
	back := arrow{From: to, To: application, Response: true}
	for _, f := range q.Response {
		if f.Name != "Content-Type" || !strings.HasPrefix(f.Value, "application/json") {
			back.Fields = append(back.Fields, f)
		}
	}
	switch {
	case q.Status == 0:
		back.Label, back.Failed = "no response", true
	default:
		text := fmt.Sprintf("%d %s %s", q.Status, http.StatusText(q.Status), q.Code)
		back.Label = strings.TrimSpace(text)
		back.Failed = q.Status >= http.StatusBadRequest
	}
	if q.Duration > 0 {
		back.Label += " in " + shortDuration(q.Duration)
	}
	return []arrow{{From: application, To: to, Label: label, Fields: fields}, back}
}

// shortDuration returns a duration as users read it.
func shortDuration(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
