package suite

import (
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/handstamp/handstamp/internal/pagestyle"
	"github.com/handstamp/handstamp/lab"
)

// Bench is a personality to try a client at by hand, and the page that shows
// what comes: it is the page's http.Handler.
type Bench struct {
	// Server is what the client is pointed at.
	Server      *lab.Server
	personality lab.Personality
	news        broadcast
	guard       string // what a form of ours carries
}

// Serve starts a personality. Options.Hook must be nil. The caller closes it.
func Serve(p lab.Personality, o lab.Options) (*Bench, error) {
	b := &Bench{personality: p, guard: rand.Text()}
	o.Hook = func(lab.Event) { b.news.notify() }
	var err error
	if b.Server, err = lab.StartWith(p.Habits, o); err != nil {
		return nil, err
	}
	if p.Login == lab.LoginNotStarted {
		b.trouble()
	}
	return b, nil
}

// Close ends the servers.
func (b *Bench) Close() { b.Server.Close() }

func (b *Bench) trouble() {
	for endpoint, faults := range b.personality.Trouble {
		b.Server.SetFault(endpoint, faults...)
	}
}

// policy lets the page load nothing, run its own script, and not be framed.
const policy = "default-src 'none'; style-src 'nonce-%[1]s'; script-src 'nonce-%[1]s'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP serves the page, its stream of requests, and its buttons. It accepts
// only loopback names, or any page on the internet could rebind its own name and
// read along.
func (b *Bench) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil ||
		!ip.IsLoopback()) {
		http.Error(w, "this page has another name", http.StatusMisdirectedRequest)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case r.URL.Path == "/" && r.Method == http.MethodGet:
		b.page(w)
	case r.URL.Path == "/requests" && r.Method == http.MethodGet:
		b.stream(w, r)
	case r.URL.Path == "/do" && r.Method == http.MethodPost:
		b.do(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (b *Bench) page(w http.ResponseWriter) {
	nonce := rand.Text()
	w.Header().Set("Content-Security-Policy", fmt.Sprintf(policy, nonce))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	habits, err := json.MarshalIndent(b.personality.Habits, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	// A browser that has gone needs no page.
	_ = benchPage().Execute(w, map[string]any{
		"Nonce": nonce, "Style": template.CSS(pagestyle.Base + benchCSS), "Script": template.JS(benchJS), "Guard": b.guard, "P": b.personality, "MCP": b.Server.MCPURL(), "Issuer": b.Server.Issuer(),
		"Habits": string(habits), "Conditions": Conditions()[1:], "Trouble": len(b.personality.Trouble) > 0,
	})
}

// line is a request as the page shows it.
type line struct {
	Number int    `json:"number"`
	Time   string `json:"time"`
	Status int    `json:"status"` // 0: no response yet, or never
	Text   string `json:"text"`
}

// stream sends every request, those so far first, as server-sent events: once
// when it is received, and again when it has a response.
func (b *Bench) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	sent := make(map[int]int) // status, by number
	flush := http.NewResponseController(w).Flush
	for {
		next := b.news.wait() // before looking, so that nothing is missed
		for _, request := range b.Server.Requests() {
			if status, ok := sent[request.Number]; ok && status == request.Status {
				continue
			}
			sent[request.Number] = request.Status
			raw, err := json.Marshal(line{request.Number, request.Time.Format("15:04:05.000"), request.Status, request.String()})
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", raw); err != nil {
				return
			}
		}
		if flush() != nil {
			return
		}
		select {
		case <-next:
		case <-r.Context().Done():
			return
		}
	}
}

// do carries out a button.
func (b *Bench) do(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("guard") != b.guard {
		http.Error(w, "this button is not on our page", http.StatusForbidden)
		return
	}
	switch what := r.PostFormValue("what"); {
	case what == "trouble":
		b.trouble()
	case slices.Contains(Conditions(), Condition(what)):
		Condition(what).apply(b.Server, false)
	default:
		http.Error(w, "there is no such button", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

var (
	//go:embed bench.html
	benchHTML string
	//go:embed bench.css
	benchCSS string
	//go:embed bench.js
	benchJS string
)

// benchPage is written without the data that comes in: the script adds that as
// text.
var benchPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("bench").Funcs(pageFuncs).Parse(benchHTML))
})
