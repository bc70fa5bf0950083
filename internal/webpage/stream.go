package webpage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"time"
)

// stream sends the servers whenever they change, and each event, as server-sent events.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	tick := time.NewTicker(p.poll)
	defer tick.Stop()
	var shown []Server
	first, number := true, 0
	for {
		events, news := p.log.after(number) // before the servers, so that nothing is missed
		servers, err := p.backend.Servers(r.Context())
		if err == nil && (first || !reflect.DeepEqual(servers, shown)) {
			shown, first = servers, false
			err = p.sendServers(w, servers)
		}
		if err == nil {
			number, err = sendLog(w, number, events)
		}
		if err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-news:
		case <-tick.C:
		case <-p.closing:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// sendLog sends events, and returns the number of the last one; number if there is none.
func sendLog(w io.Writer, number int, events []Event) (int, error) {
	for _, e := range events {
		if err := send(w, "log", e); err != nil {
			return number, err
		}
		number = e.Number
	}
	return number, nil
}

// sendServers sends the part of the page that has the servers.
func (p *Page) sendServers(w io.Writer, servers []Server) error {
	var html bytes.Buffer
	if err := templates().ExecuteTemplate(&html, "servers", p.view(servers)); err != nil {
		return err
	}
	return send(w, "servers", map[string]string{"html": html.String()})
}

// send sends one event. JSON has no line ends.
func send(w io.Writer, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, data)
	return err
}
