package handstamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// silentBody never ends by itself.
type silentBody struct{ closed chan struct{} }

func (b silentBody) Read([]byte) (int, error) {
	<-b.closed
	return 0, io.ErrClosedPipe
}

func (b silentBody) Close() error {
	close(b.closed)
	return nil
}

// A rejection whose body does not end does not delay the request.
func TestRejectionWithoutEnd(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	c := w.Session()
	var silent []silentBody
	c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusUnauthorized {
			resp.Body.Close()
			body := silentBody{make(chan struct{})}
			silent = append(silent, body)
			resp.Body = body
		}
		return resp, err
	})
	w.MustCall(c)
	if len(silent) != 1 {
		t.Fatalf("%d rejections", len(silent))
	}
	select {
	case <-silent[0].closed:
	default:
		t.Error("the body was left open")
	}
}

// capture is a RoundTripper that sends nothing and remembers the request.
type capture struct{ req *http.Request }

func (c *capture) RoundTrip(req *http.Request) (*http.Response, error) {
	c.req = req
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req,
	}, nil
}

// loggedIn returns a session at a server with a login made up for it, whose
// requests are captured.
func signedIn(t *testing.T, serverURL string) (*handstamp.Client, *capture) {
	t.Helper()
	key, err := store.NewKey(serverURL, "")
	if err != nil {
		t.Fatal(err)
	}
	memory := new(store.Memory)
	err = record.Put(t.Context(), memory, &record.Record{
		Version: record.SchemaVersion, Key: key, ServerURL: serverURL,
		Grant: &record.Grant{Issuer: "https://as.example", ClientID: "app", AccessToken: "the-access-token"},
	})
	if err != nil {
		t.Fatal(err)
	}
	base := new(capture)
	return &handstamp.Client{Store: memory, BaseTransport: base, LoginPolicy: handstamp.LoginNever, InsecureAllowHTTP: true}, base
}

// The token goes to the server's origin, to its path and below, and nowhere else.
func TestWhereTheTokenGoes(t *testing.T) {
	for _, test := range []struct {
		server, request string
		attached        bool
	}{
		{"https://mcp.example/mcp", "https://mcp.example/mcp", true},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/", true},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/messages", true},
		{"https://mcp.example/mcp", "https://mcp.example/mcp?session=1", true},
		{"https://mcp.example/mcp", "https://MCP.example:443/mcp", true},
		{"https://mcp.example/mcp/", "https://mcp.example/mcp", true},
		{"https://mcp.example", "https://mcp.example/anything", true},
		{"https://mcp.example/", "https://mcp.example", true},
		{"http://localhost:8000/mcp", "http://localhost:8000/mcp", true},

		{"https://mcp.example/mcp", "https://mcp.example/mcp-evil", false},
		{"https://mcp.example/mcp", "https://mcp.example/mcpx/mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example/mc", false},
		{"https://mcp.example/mcp", "https://mcp.example/", false},
		{"https://mcp.example/mcp", "https://mcp.example", false},
		{"https://mcp.example/mcp", "https://mcp.example/MCP", false},
		{"https://mcp.example/mcp", "https://mcp.example//mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example/%6dcp", false},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/../evil", false},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/%2e%2e/evil", false},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/.%2E/evil", false},
		{"https://mcp.example/mcp", "https://mcp.example/x/../mcp", false},
		{"https://mcp.example/mcp", "http://mcp.example/mcp", false},
		{"https://mcp.example/mcp", "http://mcp.example:443/mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example:444/mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example./mcp", false},
		{"https://mcp.example/mcp", "https://evil.mcp.example/mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example.evil.example/mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example@evil.example/mcp", false},
		{"https://mcp.example/mcp", "https://evil.example/mcp", false},
		{"https://mcp.example/mcp", "ws://mcp.example/mcp", false},
		{"http://localhost:8000/mcp", "http://127.0.0.1:8000/mcp", false},
		{"http://localhost:8000/mcp", "http://localhost:8001/mcp", false},
		{"http://localhost:8000/mcp", "http://localhost/mcp", false},
		{"http://localhost:8000/mcp", "https://localhost:8000/mcp", false},
	} {
		t.Run(test.server+" "+test.request, func(t *testing.T) {
			c, base := signedIn(t, test.server)
			u, err := url.Parse(test.request)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Transport(test.server).RoundTrip(&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := base.req.Header.Get("Authorization"); (got != "") != test.attached {
				t.Errorf("Authorization %q, want one: %t", got, test.attached)
			}
		})
	}
}

// What a caller put into the Authorization header stays, and its rejection is the
// caller's to deal with.
func TestCallersAuthorization(t *testing.T) {
	for _, own := range [][]string{{"Basic dTpw"}, {"Bearer own"}, {""}, {}, {"a", "b"}} {
		t.Run(fmt.Sprintf("%q", own), func(t *testing.T) {
			const server = "https://mcp.example/mcp"
			c, base := signedIn(t, server)
			req, err := http.NewRequest(http.MethodPost, server, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header["Authorization"] = own
			before := maps.Clone(req.Header)
			resp, err := c.Transport(server).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := base.req.Header["Authorization"]; !slices.Equal(got, own) {
				t.Errorf("sent %q, want %q", got, own)
			}
			if !maps.EqualFunc(req.Header, before, slices.Equal) {
				t.Error("the caller's request was changed")
			}
		})
	}
	w := testenv.New(t, lab.Habits{})
	c := w.Session()
	req, err := http.NewRequest(http.MethodPost, w.Lab.MCPURL(), strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer own")
	resp, err := c.HTTPClient(w.Lab.MCPURL()).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", resp.StatusCode)
	}
	w.WantCounts(map[string]int{"mcp": 1, "register": 0})
	w.WantTabs(0)
}

// A 403 that does not ask for more scope is the response: it comes as it is, once.
func TestForbiddenIsTheResponse(t *testing.T) {
	for _, challenge := range []string{
		"", "Bearer", `Bearer error="access_denied", scope="admin"`, `Bearer scope="admin"`,
		`DPoP error="insufficient_scope", scope="admin"`, `Bearer error="insufficient_scope"`, `Bearer error="INSUFFICIENT_SCOPE", scope="admin"`,
	} {
		t.Run(challenge, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			c, line := w.Recorded()
			w.MustCall(c)
			line.OnResponse(func(req *http.Request, resp *http.Response) {
				if req.URL.Path == testenv.AtMCP {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					resp.StatusCode = http.StatusForbidden
					resp.Header = http.Header{"X-Reason": {"not you"}}
					if challenge != "" {
						resp.Header.Set("WWW-Authenticate", challenge)
					}
					testenv.SetBody(resp, []byte("forbidden, and here is why"))
				}
			})
			w.Lab.Reset()
			resp, err := c.HTTPClient(w.Lab.MCPURL()).Post(w.Lab.MCPURL(), "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			if got := testenv.Body(t, resp); resp.StatusCode != http.StatusForbidden || got != "forbidden, and here is why" || resp.Header.Get("X-Reason") != "not you" {
				t.Errorf("the response was changed: %d %v %q", resp.StatusCode, resp.Header, got)
			}
			w.WantCounts(map[string]int{"mcp": 1})
			if n := w.AsRequests(); n != 0 {
				t.Errorf("%d requests to the authorization server", n)
			}
			w.WantTabs(1)
		})
	}
}

// echo is an MCP server that responds with what it was sent.
func echo(w http.ResponseWriter, r *http.Request) {
	got, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	fmt.Fprintf(w, "%s %d ", r.Method, len(got))
	w.Write(got)
}

// startWorld is newWorld with options for the lab.
func startWorld(t testing.TB, h lab.Habits, o lab.Options) *testenv.Env {
	t.Helper()
	server, err := lab.StartWith(h, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	testenv.Processes.Watch(t, server)
	return &testenv.Env{T: t, Lab: server, Store: new(store.Memory)}
}

// A rejected request is sent again with the same body, once, if there is one to
// send; and if there is not, the next one finds a token that is good.
func TestBodiesAfterARejection(t *testing.T) {
	small := bytes.Repeat([]byte("small body "), 1000)
	large := bytes.Repeat([]byte("large body "), 200_000) // 2.2 MB
	piped := func(data []byte) io.Reader {
		r, w := io.Pipe()
		go func() {
			for chunk := range slices.Chunk(data, 3000) {
				if _, err := w.Write(chunk); err != nil {
					return // rejected before the end
				}
			}
			w.Close()
		}()
		return r
	}
	for name, test := range map[string]struct {
		method    string
		body      func() io.Reader
		want      []byte
		responded bool // with the request's body, rather than the rejection
	}{
		"with GetBody":        {http.MethodPost, func() io.Reader { return bytes.NewReader(small) }, small, true},
		"large, with GetBody": {http.MethodPost, func() io.Reader { return bytes.NewReader(large) }, large, true},
		"none":                {http.MethodPost, func() io.Reader { return nil }, nil, true},
		"NoBody":              {http.MethodPost, func() io.Reader { return http.NoBody }, nil, true},
		"DELETE":              {http.MethodDelete, func() io.Reader { return nil }, nil, true},
		"GET of a stream":     {http.MethodGet, func() io.Reader { return nil }, nil, true},
		"stream":              {http.MethodPost, func() io.Reader { return piped(small) }, small, true},
		"large stream":        {http.MethodPost, func() io.Reader { return piped(large) }, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startWorld(t, lab.Habits{}, lab.Options{MCP: http.HandlerFunc(echo)})
			c := w.Session()
			c.Prompt = handstamp.Prompt{Authorize: w.Consent}
			w.MustLogin(c)
			w.Lab.RevokeAccessTokens()
			w.Lab.Reset()
			client := c.HTTPClient(w.Lab.MCPURL())
			req, err := http.NewRequest(test.method, w.Lab.MCPURL(), test.body())
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatalf("%v\n%s", err, w.Diary())
			}
			got := testenv.Body(t, resp)
			want, requests := fmt.Sprintf("%s %d %s", test.method, len(test.want), test.want), 2
			if !test.responded {
				want, requests = "Unauthorized\n", 1
			}
			if got != want || (resp.StatusCode == http.StatusOK) != test.responded {
				t.Errorf("status %d, %.60q, want %.60q", resp.StatusCode, got, want)
			}
			w.WantCounts(map[string]int{"mcp": requests, "token:refresh": 1})

			resp, err = client.Post(w.Lab.MCPURL(), "text/plain", strings.NewReader("next"))
			if err != nil {
				t.Fatal(err)
			}
			if got := testenv.Body(t, resp); got != "POST 4 next" {
				t.Errorf("the next request: %q", got)
			}
			w.WantCounts(map[string]int{"mcp": requests + 1, "token:refresh": 1})
			w.WantTabs(1)
		})
	}
}

// Many profiles of one server, many requests at once, tokens that are rejected in
// between: each request goes out as whom it was made for.
func TestProfilesDoNotMix(t *testing.T) {
	w := startWorld(t, lab.Habits{}, lab.Options{MCP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := lab.CallerFrom(r.Context())
		json.NewEncoder(w).Encode(caller.ClientID)
	})})
	const profiles, each = 50, 20
	clients := make([]*handstamp.Client, profiles)
	ids := make(map[string]bool)
	want := make([]string, profiles)
	for i := range clients {
		clients[i] = w.Session()
		clients[i].Profile = fmt.Sprintf("user-%d", i)
		clients[i].Prompt = handstamp.Prompt{Authorize: w.Consent}
		w.MustLogin(clients[i])
		status, err := clients[i].Status(t.Context(), w.Lab.MCPURL())
		if err != nil {
			t.Fatal(err)
		}
		want[i] = status.ClientID
		ids[status.ClientID] = true
	}
	if len(ids) != profiles {
		t.Fatalf("%d clients for %d profiles", len(ids), profiles)
	}
	ask := func(ctx context.Context, i int) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Lab.MCPURL(), strings.NewReader("{}"))
		if err != nil {
			return "", err
		}
		resp, err := clients[i].HTTPClient(w.Lab.MCPURL()).Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		var id string
		return id, json.NewDecoder(resp.Body).Decode(&id)
	}
	var group sync.WaitGroup
	for n := range each {
		for i := range clients {
			group.Go(func() {
				if got, err := ask(t.Context(), i); err != nil || got != want[i] {
					t.Errorf("the response to profile %d is %q, %v, want %q", i, got, err, want[i])
				}
			})
		}
		if n == each/2 {
			w.Lab.RevokeAccessTokens()
		}
	}
	group.Wait()
	w.WantTabs(profiles)
}

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
			time.Sleep(time.Hour)
			if status := s.get(s.client()); status != http.StatusOK {
				s.t.Errorf("status %d", status)
			}
		},
		"refresh by another process": func(s *slow) {
			if _, err := s.client().Token(s.t.Context(), s.lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err != nil {
				s.t.Error(err)
			}
			time.Sleep(time.Second)
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
