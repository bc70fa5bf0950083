// Package testenv is the environment of the library's tests: a server of the lab, the store and
// the browser of one user, other processes of that user, an attacker's server, and a recorder of
// what is sent.
package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// Processes looks at what every process of the tests carries: no secret of any
// server is ever among it.
var Processes proctest.Sampler

// Env is a server with habits, the store of one user, and that user's browser.
// Each Client is a session of its own, as another process would be.
type Env struct {
	T     testing.TB
	Lab   *lab.Server
	Store store.Store
	Tabs  atomic.Int32

	Dir string // of the credentials, in an environment on disk

	memory  *Meter            // what carries the requests of an environment without sockets
	offline http.RoundTripper // what carries those to a server that has ended
}

// New returns an Env whose server listens on loopback and whose store is in memory.
func New(t testing.TB, h lab.Habits) *Env {
	t.Helper()
	server, err := lab.Start(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	Processes.Watch(t, server)
	return &Env{T: t, Lab: server, Store: new(store.Memory)}
}

// Transport carries requests to the server, as a program without a Client sends them.
func (w *Env) Transport() http.RoundTripper {
	if w.memory != nil {
		return w.memory
	}
	return http.DefaultTransport
}

// Disconnect ends the server: the connections of later sessions are rejected, whoever has its port then.
func (w *Env) Disconnect() {
	w.Lab.Close()
	address := proctest.UnreachableAddress(w.T)
	w.offline = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}

// Session returns a Client with the user's store and browser.
func (w *Env) Session() *handstamp.Client {
	c := &handstamp.Client{
		Store:        w.Store,
		Prompt:       handstamp.Prompt{OpenURL: w.OpenURL},
		LoginTimeout: Timeout,
	}
	if w.offline != nil {
		c.BaseTransport, c.AuthTransport = w.offline, w.offline
	}
	closing := 10 * time.Second
	if w.memory != nil {
		c.BaseTransport, c.AuthTransport = w.memory, w.memory
		c.LoginTimeout = time.Hour
		c.Prompt = handstamp.Prompt{Authorize: w.Consent}
		closing = time.Hour // a bubble must not end before what a Client does in the background
	}
	w.T.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closing)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

// OpenURL opens a tab and consents.
func (w *Env) OpenURL(ctx context.Context, rawURL string) error {
	w.Tabs.Add(1)
	go lab.Browse(context.WithoutCancel(ctx), rawURL)
	return nil
}

// Call makes one tool call and returns what went wrong.
func (w *Env) Call(c *handstamp.Client) error {
	return Call(context.Background(), c.HTTPClient(w.Lab.MCPURL()), w.Lab.MCPURL())
}

func Call(ctx context.Context, client *http.Client, serverURL string) error {
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, serverURL, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	response, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var message struct {
		Result json.RawMessage
		Error  json.RawMessage
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	if err := json.Unmarshal(response, &message); err != nil || message.Result == nil {
		return fmt.Errorf("no result in %q", response)
	}
	return nil
}

// CallAtOnce makes a call with each of n sessions at the same time; all must succeed.
func (w *Env) CallAtOnce(n int, session func() *handstamp.Client) {
	w.T.Helper()
	var calls sync.WaitGroup
	for range n {
		c := session()
		calls.Go(func() {
			if err := w.Call(c); err != nil {
				w.T.Error(err)
			}
		})
	}
	calls.Wait()
}

// MustCall fails the test unless the call works.
func (w *Env) MustCall(c *handstamp.Client) {
	w.T.Helper()
	if err := w.Call(c); err != nil {
		w.T.Fatalf("call: %v\n%s", err, w.Diary())
	}
}

// Diary is what the lab saw, for failures.
func (w *Env) Diary() string {
	var b strings.Builder
	for _, r := range w.Lab.Requests() {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

// WantCounts compares the requests since the last Reset with want, where "as"
// stands for all that went to the authorization server, its browser pages aside.
func (w *Env) WantCounts(want map[string]int) {
	w.T.Helper()
	got := w.Lab.Counts()
	for endpoint, n := range want {
		if got[endpoint] != n {
			w.T.Errorf("%d requests to %s, want %d\n%s", got[endpoint], endpoint, n, w.Diary())
		}
	}
}

// WantTabs checks how often a browser was opened so far.
func (w *Env) WantTabs(want int32) {
	w.T.Helper()
	if got := w.Tabs.Load(); got != want {
		w.T.Errorf("browser opened %d times, want %d\n%s", got, want, w.Diary())
	}
}

// AsRequests counts what went to the authorization server but the browser's.
func (w *Env) AsRequests() int {
	counts := w.Lab.Counts()
	return counts["resource_metadata"] + counts["server_metadata"] + counts["register"] +
		counts["token:code"] + counts["token:refresh"] + counts["token"] + counts["authorize:preflight"] + counts["other"]
}

// Consent is a user who says yes, and an application that receives the
// callback.
func (w *Env) Consent(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	w.Tabs.Add(1)
	if w.memory != nil {
		return w.memory.consent(ctx, r.URL)
	}
	return lab.Consent(ctx, r.URL)
}

// SignIn signs in, whatever is stored.
func (w *Env) SignIn(configure func(*handstamp.Client)) error {
	c := w.Session()
	if configure != nil {
		configure(c)
	}
	_, err := c.Login(context.Background(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
	return err
}

// Login signs in explicitly.
func (w *Env) Login(c *handstamp.Client) error {
	_, err := c.Login(w.T.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
	return err
}

// MustLogin fails the test unless the login works.
func (w *Env) MustLogin(c *handstamp.Client) {
	w.T.Helper()
	if err := w.Login(c); err != nil {
		w.T.Fatalf("login: %v\n%s", err, w.Diary())
	}
}

// WantKind checks the kind of an error.
func WantKind(t testing.TB, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error %v, want kind %v", err, kind)
	}
}

// WantNoCredentials checks that nothing was registered, redeemed or stored.
func (w *Env) WantNoCredentials() {
	w.T.Helper()
	w.WantCounts(map[string]int{"token:code": 0, "token:refresh": 0})
	status, err := w.Session().Status(w.T.Context(), w.Lab.MCPURL())
	if err != nil || status.State != handstamp.StateNone {
		w.T.Errorf("status %+v, %v, want none", status, err)
	}
}

// Consented is an application whose user consents at once, at any authorization server.
func Consented(_ context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, err
	}
	return url.Values{"code": {"a-code"}, "state": {u.Query().Get("state")}}, nil
}

// Serve is [httptest.NewServer] with an end that leaves the idle connections of the default transport
// alone, for tests beside this one send requests with them.
func Serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.Config.Close() })
	return s
}

// Personality is one of the lab's, by name.
func Personality(t *testing.T, name string) lab.Habits {
	t.Helper()
	p, ok := lab.FindPersonality(name)
	if !ok {
		t.Fatalf("the lab has no %s", name)
	}
	return p.Habits
}

// Held waits for a request at the gate.
func (m *Env) Held(gate *lab.Gate) {
	m.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		m.T.Fatalf("no request comes to the gate: %v\n%s", err, m.Diary())
	}
}
