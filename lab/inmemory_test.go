package lab_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// inMemory is start without a socket.
func inMemory(t *testing.T, h lab.Habits) *hand {
	t.Helper()
	server, err := lab.New(h, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server.RegisterClient(lab.ConfiguredClient{ID: "ana", RedirectURIs: []string{redirectURI}})
	return &hand{t: t, server: server, id: "ana", method: lab.MethodNone, http: &http.Client{
		Transport:     server.RoundTripper(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// TestInMemory logs in without a socket, in a bubble of time: hours pass at once,
// and nothing is left running.
func TestInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, lab.Habits{})
		defer c.server.Close()
		tokens := c.login(nil)
		if !c.works(tokens.text("access_token")) {
			t.Error("the access token does not work")
		}
		time.Sleep(time.Hour) // the bubble's
		if c.works(tokens.text("access_token")) {
			t.Error("the access token has no end")
		}
		c.refresh(tokens.text("refresh_token"), nil).is(t, http.StatusOK, "")
	})
}

// TestInMemoryFaults cuts, delays and hangs without a socket.
func TestInMemoryFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, lab.Habits{})
		defer c.server.Close()
		token := c.login(nil).text("refresh_token")
		c.server.SetFault("token",
			lab.Fault{Kind: lab.FaultCutBefore, Times: 1},
			lab.Fault{Kind: lab.FaultHang, Times: 1},
			lab.Fault{Kind: lab.FaultDelay, Delay: time.Hour, Times: 1},
			lab.Fault{Kind: lab.FaultCutBody, Times: 1},
		)
		if _, err := c.try(c.refreshRequest(token)); err == nil {
			t.Error("cut before: a response")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.try(c.refreshRequest(token).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hang: %v", err)
		}
		begin := time.Now()
		answer := c.do(c.refreshRequest(token))
		answer.is(t, http.StatusOK, "")
		if waited := time.Since(begin); waited != time.Hour {
			t.Errorf("delayed by %v", waited)
		}
		if half, err := c.try(c.refreshRequest(answer.text("refresh_token"))); !errors.Is(err, io.ErrUnexpectedEOF) || half.raw == "" {
			t.Errorf("cut in body: %v", err)
		}
	})
}

// TestInMemoryStream opens the GET stream and closes it.
func TestInMemoryStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, lab.Habits{})
		defer c.server.Close()
		open := func() *http.Response {
			r := c.request(http.MethodGet, c.server.MCPURL(), "")
			r.Header.Set("Authorization", "Bearer "+c.server.Issue("ana", "", "").Access)
			response, err := c.http.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
				t.Errorf("content type %s", got)
			}
			return response
		}
		gate := c.server.Hold("mcp:responded")
		mine := open()
		mine.Body.Close()
		if _, err := gate.Wait(t.Context()); err != nil { // the handler has ended
			t.Fatal(err)
		}
		gate.Release()
		theirs := open()
		defer theirs.Body.Close()
		c.server.Close()
		if _, err := io.ReadAll(theirs.Body); err != nil {
			t.Errorf("the server's end: %v", err)
		}
	})
}

// TestInMemoryHosts has two origins and no more, and lets a browser through.
func TestInMemoryHosts(t *testing.T) {
	c := inMemory(t, lab.Habits{Consent: lab.ConsentPage})
	defer c.server.Close()
	if _, err := c.try(c.request(http.MethodPost, "https://elsewhere.test/token", "x")); err == nil {
		t.Error("another host answers")
	}
	if !strings.HasPrefix(c.server.MCPURL(), "https://") || !strings.HasPrefix(c.server.Issuer(), "https://") {
		t.Errorf("%s %s", c.server.MCPURL(), c.server.Issuer())
	}
	final, err := lab.BrowseWith(t.Context(), c.http, c.authorization(nil))
	if err != nil || !strings.Contains(final, "/consent") {
		t.Errorf("the browser is at %s: %v", final, err)
	}
	follow := &http.Client{Transport: c.server.RoundTripper()}
	if _, err := lab.BrowseWith(t.Context(), follow, c.authorization(url.Values{"client_id": {"x"}})); err == nil {
		t.Error("an unknown client's page is no error")
	}
}
