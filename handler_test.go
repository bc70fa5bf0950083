package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"golang.org/x/oauth2"
)

// What another origin rejects, where the SDK's own client has followed a redirect, is no reason
// to refresh or to sign in.
func TestHandlerIgnoresRejectionsOfAnotherOrigin(t *testing.T) {
	m := newMoved(t, false)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer scope="everything"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(other.Close)
	m.set(307, other.URL+"/mcp")
	resp, err := http.Post(m.URL+"/mcp", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	c := &handstamp.Client{Prompt: handstamp.Prompt{OpenURL: func(context.Context, string) error {
		t.Error("a browser was opened")
		return errors.New("there is none")
	}}}
	req := secretRequest(t, m.URL+"/mcp")
	testenv.WantKind(t, c.Handler(m.URL+"/mcp").Authorize(t.Context(), req, resp), handstamp.ErrProtocol)
	if n := len(m.sent()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// A Handler that no Client has made has an error, and no panic.
func TestHandlerWithoutClient(t *testing.T) {
	var h handstamp.Handler
	_, err := h.TokenSource(t.Context())
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
	resp := &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody}
	err = h.Authorize(t.Context(), secretRequest(t, "https://mcp.invalid/mcp"), resp)
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
}

// sendFrom makes a request with a token of a source, as the SDK does; nil: without one.
func sendFrom(w *testenv.Env, ts oauth2.TokenSource) (*http.Request, *http.Response) {
	w.T.Helper()
	req, err := http.NewRequest(http.MethodPost, w.Lab.MCPURL(), strings.NewReader("{}"))
	if err != nil {
		w.T.Fatal(err)
	}
	if ts != nil {
		tok, err := ts.Token()
		if err != nil {
			w.T.Fatal(err)
		}
		tok.SetAuthHeader(req)
	}
	resp, err := w.Transport().RoundTrip(req)
	if err != nil {
		w.T.Fatal(err)
	}
	return req, resp
}

// The SDK hands its handler one rejection after the other, each without a past. The
// handler must remember by itself that the server rejects even fresh tokens.
func TestHandlerAtServerThatRejectsEveryToken(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		c := w.Session()
		h := c.Handler(w.Lab.MCPURL())
		one := func() {
			ts, err := h.TokenSource(t.Context())
			if err != nil {
				return
			}
			for range 2 {
				req, resp := sendFrom(w, ts)
				if resp.StatusCode != 401 {
					return
				}
				if h.Authorize(t.Context(), req, resp) != nil {
					return
				}
				ts, _ = h.TokenSource(t.Context())
			}
		}
		w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
		for range 6 {
			one()
		}
		if tabs, refreshes := w.Tabs.Load(), w.Lab.Counts()["token:refresh"]; tabs > 2 || refreshes > 2 {
			t.Errorf("%d tabs and %d refreshes for 6 requests", tabs, refreshes)
		}
	})
}

// The same where the login cannot be refreshed: not a tab for each request.
func TestHandlerWithoutRefreshToken(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		c := w.Session()
		w.MustCall(c)
		rec := w.Record()
		rec.Grant.RefreshToken = ""
		w.Put(rec)
		h := c.Handler(w.Lab.MCPURL())
		w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
		for range 5 {
			ts, err := h.TokenSource(t.Context())
			if err != nil {
				break
			}
			req, resp := sendFrom(w, ts)
			h.Authorize(t.Context(), req, resp)
			if rec := w.Record(); rec.Grant != nil {
				rec.Grant.RefreshToken = ""
				w.Put(rec)
			}
		}
		// One was the login that worked. The handler never learns whether a request
		// did, and a server may move to another authorization server right after a
		// login, so two more are allowed before it pauses.
		if n := w.Tabs.Load(); n > 3 {
			t.Errorf("%d tabs for 5 requests", n)
		}
	})
}
