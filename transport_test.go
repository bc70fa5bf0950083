package handstamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
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
	t.Parallel()
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

// startWorld is [testenv.New] with options for the lab.
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
	t.Parallel()
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
	t.Parallel()
	w := startWorld(t, lab.Habits{}, lab.Options{MCP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := lab.CallerFrom(r.Context())
		json.NewEncoder(w).Encode(caller.ClientID)
	})})
	profiles, each := 50, 20
	if testing.Short() {
		profiles, each = 20, 10
	}
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
	w.WantTabs(int32(profiles))
}
