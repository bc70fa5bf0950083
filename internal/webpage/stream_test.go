package webpage

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestPageIsLive sends an open page what changes, and an event as it happens.
func TestPageIsLive(t *testing.T) {
	s := serve(t, nil)
	s.enter(t)
	s.page.Log(Event{Server: "one", Text: "before"})
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.url+s.at("/events"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	next := func() (name string, data map[string]any) {
		t.Helper()
		for lines.Scan() {
			if n, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				lines.Scan()
				if err := json.Unmarshal([]byte(strings.TrimPrefix(lines.Text(), "data: ")), &data); err != nil {
					t.Fatal(err)
				}
				return n, data
			}
		}
		t.Fatal("the stream has ended: ", lines.Err())
		return "", nil
	}
	name, data := next()
	html := fmt.Sprint(data["html"])
	if name != "servers" || !strings.Contains(html, `id="server-one"`) || !strings.Contains(html, "&lt;script&gt;alert(2)") ||
		strings.Contains(html, "javascript:") {
		t.Fatalf("%s %s", name, html)
	}
	if name, data = next(); name != "log" || data["text"] != "before" {
		t.Fatalf("%s %v", name, data)
	}
	s.page.Log(Event{Server: "one", Text: "now", Mark: Good})
	if name, data = next(); name != "log" || data["text"] != "now" || data["mark"] != "good" {
		t.Fatalf("%s %v", name, data)
	}
	// What another process has changed is read from the store.
	s.mu.Lock()
	s.servers[0].Headline = "Signed out by the server 1 s ago (invalid_grant)"
	s.mu.Unlock()
	if name, data = next(); name != "servers" || !strings.Contains(fmt.Sprint(data["html"]), "invalid_grant") {
		t.Fatalf("%s %v", name, data)
	}
	s.page.Close()
	for lines.Scan() {
		if lines.Text() != "" {
			t.Errorf("after the end: %q", lines.Text())
		}
	}
}

// TestLogHasABound keeps the last events.
func TestLogHasABound(t *testing.T) {
	p := New(Options{})
	for i := range maxEvents + 10 {
		p.Log(Event{Text: fmt.Sprint(i)})
	}
	events, _ := p.log.after(0)
	if len(events) != maxEvents || events[0].Text != "10" {
		t.Errorf("%d events, the first is %q", len(events), events[0].Text)
	}
	if events, _ = p.log.after(maxEvents + 9); len(events) != 1 || events[0].Number != maxEvents+10 {
		t.Errorf("%+v", events)
	}
}
