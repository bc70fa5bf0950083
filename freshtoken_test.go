package handstamp_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// slow is a MCP server that learns of an access token some time after its issue.
type slow struct {
	*model
	after time.Duration

	mu    sync.Mutex
	since map[string]time.Time // guarded by mu; when a token was first seen
}

func (s *slow) RoundTrip(req *http.Request) (*http.Response, error) {
	if token := req.Header.Get("Authorization"); strings.HasPrefix(token, "Bearer ") && strings.HasPrefix(req.URL.String(), s.lab.MCPURL()) {
		s.mu.Lock()
		if s.since[token].IsZero() {
			s.since[token] = time.Now()
		}
		early := time.Since(s.since[token]) < s.after
		s.mu.Unlock()
		if early {
			return &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody, Request: req,
				Header: http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}}}, nil
		}
	}
	return s.model.RoundTrip(req)
}

// client returns a process of a user at a slow server.
func (s *slow) client() *handstamp.Client {
	c := s.newClient()
	c.BaseTransport, c.LoginPolicy = s, handstamp.LoginAuto
	return c
}

// get makes a request and returns the status.
func (s *slow) get(c *handstamp.Client) int {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.lab.MCPURL(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := c.HTTPClient(s.lab.MCPURL()).Do(req)
	if err != nil {
		s.t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		s.t.Error(err)
	}
	return resp.StatusCode
}

// A token that the MCP server rejects right after its issue is sent again, for three
// seconds, before a refresh token is used or a browser opens: after a login, after a
// refresh, and by a process that was not the one to get it.
func TestFreshTokenIsSentAgain(t *testing.T) {
	for name, use := range map[string]func(s *slow){
		"login": func(s *slow) {
			result, err := s.client().Login(s.t.Context(), s.lab.MCPURL(), handstamp.LoginOptions{Force: true})
			if err != nil || result.Rejected != nil {
				s.t.Errorf("login: %+v, %v", result, err)
			}
		},
		"login that a request needs": func(s *slow) {
			s.lab.RevokeFamilies()
			if status := s.get(s.client()); status != http.StatusOK {
				s.t.Errorf("status %d", status)
			}
		},
		"refresh": func(s *slow) {
			time.Sleep(time.Hour) // in the bubble
			if status := s.get(s.client()); status != http.StatusOK {
				s.t.Errorf("status %d", status)
			}
		},
		"refresh by another process": func(s *slow) {
			if _, err := s.client().Token(s.t.Context(), s.lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err != nil {
				s.t.Error(err)
			}
			time.Sleep(time.Second) // in the bubble
			if status := s.get(s.client()); status != http.StatusOK {
				s.t.Errorf("status %d", status)
			}
		},
		"the SDK's handler": func(s *slow) {
			c := s.client()
			if _, err := c.Token(s.t.Context(), s.lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err != nil {
				s.t.Fatal(err)
			}
			h := c.Handler(s.lab.MCPURL())
			status := 0
			for range 2 {
				ts, err := h.TokenSource(s.t.Context())
				if err != nil {
					s.t.Fatal(err)
				}
				token, err := ts.Token()
				if err != nil {
					s.t.Fatal(err)
				}
				req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.lab.MCPURL(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
				if err != nil {
					s.t.Fatal(err)
				}
				token.SetAuthHeader(req)
				resp, err := s.RoundTrip(req)
				if err != nil {
					s.t.Fatal(err)
				}
				if status = resp.StatusCode; status != http.StatusUnauthorized {
					resp.Body.Close()
					break
				}
				if err := h.Authorize(s.t.Context(), req, resp); err != nil {
					s.t.Fatal(err)
				}
			}
			if status != http.StatusOK {
				s.t.Errorf("status %d", status)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slow{model: newModel(t, "everything is fine", false), after: 2500 * time.Millisecond, since: map[string]time.Time{}}
				// The token at hand has been known for a minute.
				s.since["Bearer "+s.record().Grant.AccessToken.Reveal()] = time.Now().Add(-time.Minute)
				before := s.lab.Counts()
				use(s)
				after := s.lab.Counts()
				tabs, refreshes := after["token:code"]-before["token:code"], after["token:refresh"]-before["token:refresh"]
				if tabs+refreshes != 1+btoi(strings.HasSuffix(name, "needs")) {
					t.Errorf("%d logins and %d refreshes, want the one that the token is from", tabs, refreshes)
				}
			})
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// The waits have an end, three seconds after they began; a token that has worked, or
// that is older, is not waited for at all.
func TestOnlyFreshTokensAreWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		rejected func(s *slow)
		least    time.Duration
		most     time.Duration
	}{
		"never known": {func(s *slow) {
			if _, err := s.client().Token(s.t.Context(), s.lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err != nil {
				s.t.Fatal(err)
			}
			s.after = time.Hour
		}, 3 * time.Second, 3500 * time.Millisecond},
		"has worked, in another process": {func(s *slow) {
			c := s.client()
			if _, err := c.Token(s.t.Context(), s.lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err != nil {
				s.t.Fatal(err)
			}
			if status := s.get(c); status != http.StatusOK {
				s.t.Fatalf("status %d", status)
			}
			s.lab.RevokeAccessTokens()
		}, 0, time.Second},
		"older": {func(s *slow) { s.lab.RevokeAccessTokens() }, 0, time.Second},
		"of a clock that ran ahead": {func(s *slow) {
			rec := s.record()
			rec.Grant.ObtainedAt = time.Now().Add(time.Hour)
			if err := record.Put(s.t.Context(), s.store, rec); err != nil {
				s.t.Fatal(err)
			}
			s.lab.RevokeAccessTokens()
		}, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slow{model: newModel(t, "everything is fine", false), since: map[string]time.Time{}}
				c.rejected(s)
				client := s.client()
				client.LoginPolicy = handstamp.LoginNever
				start := time.Now()
				s.lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusBadRequest,
					ContentType: "application/json", Body: `{"error":"invalid_grant"}`})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.lab.MCPURL(), http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				_, err = client.HTTPClient(s.lab.MCPURL()).Do(req)
				testenv.WantKind(t, err, handstamp.ErrLoginRequired)
				if took := time.Since(start); took < c.least || took > c.most {
					t.Errorf("it took %v, want %v to %v", took, c.least, c.most)
				}
			})
		})
	}
}
