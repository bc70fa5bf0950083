package handstamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// listener collects the events of Clients.
type listener struct {
	mu     sync.Mutex
	events []handstamp.Event // guarded by mu
}

// on has a Client report here.
func (l *listener) on(c *handstamp.Client) *handstamp.Client {
	c.Hooks.Event = func(e handstamp.Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, e)
	}
	return c
}

// take returns the events so far, and forgets them.
func (l *listener) take() []handstamp.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events = nil
	return events
}

// find returns the first event that fits.
func find(events []handstamp.Event, fits func(handstamp.Event) bool) *handstamp.Event {
	if i := slices.IndexFunc(events, fits); i >= 0 {
		return &events[i]
	}
	return nil
}

// wantDecision checks that there is a decision, and what was chosen for which reason.
func wantDecision(t *testing.T, events []handstamp.Event, about, choice, reason string) {
	t.Helper()
	e := find(events, func(e handstamp.Event) bool {
		return e.Decision != nil && e.Decision.About == about && e.Decision.Choice == choice
	})
	if e == nil {
		t.Errorf("no event says that the %s is %s", about, choice)
	} else if !strings.Contains(e.Decision.Reason, reason) {
		t.Errorf("the %s is %s because of %q, want %q", about, choice, e.Decision.Reason, reason)
	}
}

// wantRequest checks that there is a request of a step with this status, and returns it.
func wantRequest(t *testing.T, events []handstamp.Event, step handstamp.EventStep, status int) *handstamp.EventRequest {
	t.Helper()
	e := find(events, func(e handstamp.Event) bool {
		return e.Step == step && e.Request != nil && e.Request.Status == status
	})
	if e == nil {
		t.Fatalf("no request of the step %s has the status %d", step, status)
	}
	return e.Request
}

// The events of a login tell what was sent where, what came back, and what was chosen why.
func TestEventsOfALogin(t *testing.T) {
	h := lab.NoneFirst()
	h.PAR, h.DPoP = lab.PAROffered, lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ServerNonce: 1}
	w, l := testenv.New(t, h), new(listener)
	w.MustLogin(l.on(w.Session()))
	events := l.take()

	challenge := wantRequest(t, events, handstamp.StepServer, http.StatusUnauthorized)
	if challenge.URL != w.Lab.MCPURL() || !slices.ContainsFunc(challenge.Response, func(f handstamp.EventField) bool {
		return f.Name == "WWW-Authenticate" && strings.Contains(f.Value, "resource_metadata=")
	}) {
		t.Errorf("the challenge is %+v", challenge)
	}
	wantRequest(t, events, handstamp.StepResourceMetadata, http.StatusOK)
	wantRequest(t, events, handstamp.StepServerMetadata, http.StatusOK)
	registration := wantRequest(t, events, handstamp.StepRegistration, http.StatusCreated)
	if registration.Param("application_type") != "native" || !strings.HasPrefix(registration.Param("redirect_uris"), "http://127.0.0.1:") {
		t.Errorf("the registration is %+v", registration)
	}
	wantDecision(t, events, "grant", "authorization_code", "browser")
	wantDecision(t, events, "resource parameter", w.Lab.MCPURL(), "published by the server")
	wantDecision(t, events, "tokens", "DPoP", "the resource metadata offers DPoP")
	wantDecision(t, events, "token endpoint auth method", "client_secret_post", "from the registration; the server lists none,")
	wantDecision(t, events, "authorization request", "pushed", "offers")
	wantDecision(t, events, "PKCE", "S256", "lists")
	if push := wantRequest(t, events, handstamp.StepAuthorization, http.StatusBadRequest); push.Code != "use_dpop_nonce" {
		t.Errorf("the first pushed request has the code %q, want the one for a nonce", push.Code)
	}
	wantTokenRequest(t, events, w.Lab.MCPURL())
	wantComplete(t, events, w.Lab.MCPURL())
}

// wantTokenRequest checks the code exchange of a login.
func wantTokenRequest(t *testing.T, events []handstamp.Event, resource string) {
	t.Helper()
	token := wantRequest(t, events, handstamp.StepToken, http.StatusOK)
	for name, want := range map[string]string{
		"grant_type": "authorization_code", "code": "[redacted]", "code_verifier": "[redacted]",
		"client_secret": "[redacted]", "resource": resource,
	} {
		if got := token.Param(name); got != want {
			t.Errorf("the token request's %s is %q, want %q", name, got, want)
		}
	}
	if token.AuthMethod != "client_secret_post" || token.Duration <= 0 || token.Method != http.MethodPost {
		t.Errorf("the token request is %+v", token)
	}
}

// wantComplete checks what each event has, and how the login ends.
func wantComplete(t *testing.T, events []handstamp.Event, server string) {
	t.Helper()
	last := find(events, func(e handstamp.Event) bool { return e.Message == "signed in" })
	if last == nil || last.Detail("token_type") != "DPoP" || last.Detail("refresh_token") != "yes" {
		t.Errorf("the login ends with %+v", last)
	}
	for i, e := range events {
		if e.Server != server || e.Profile != "default" || e.Time.IsZero() || e.Step == "" || e.Message == "" {
			t.Errorf("event %d is incomplete: %+v", i, e)
		}
	}
}

// A wait for another process has an event when it begins and one when it is over.
func TestEventsOfAWait(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, lab.NoneFirst())
	w.MustLogin(w.Session())
	w.Expire()
	key, err := store.NewKey(w.Lab.MCPURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := w.Store.Lock(t.Context(), key, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan handstamp.Event, 10)
	c := w.Session()
	c.Hooks.Event = func(e handstamp.Event) {
		if e.Step == handstamp.StepLock {
			waits <- e
		}
	}
	called := make(chan error, 1)
	go func() { called <- w.Call(c) }()
	if e := <-waits; !strings.Contains(e.Message, "a refresh of another process") {
		t.Errorf("the wait begins with %q", e.Message)
	}
	unlock()
	if err := <-called; err != nil {
		t.Fatal(err)
	}
	if e := <-waits; e.Detail("waited_ms") == "" || e.Error != "" {
		t.Errorf("the wait ends with %+v", e)
	}
}

// A refresh tells why, and a rejected one what follows.
func TestEventsOfARefresh(t *testing.T) {
	w, l := testenv.New(t, lab.NoneFirst()), new(listener)
	w.MustLogin(w.Session())
	w.Expire()
	w.MustCall(l.on(w.Session()))
	events := l.take()
	wantDecision(t, events, "grant", "refresh_token", "the access token has expired")
	if r := wantRequest(t, events, handstamp.StepToken, http.StatusOK); r.Param("refresh_token") != "[redacted]" {
		t.Errorf("the refresh is %+v", r)
	}
	if e := find(events, func(e handstamp.Event) bool {
		return e.Step == handstamp.StepStore && e.Detail("refresh_token") == "yes"
	}); e == nil {
		t.Error("no event tells that a login is stored")
	}

	w.Lab.RevokeAccessTokens()
	w.Lab.RevokeFamilies()
	w.MustCall(l.on(w.Session()))
	events = l.take()
	if r := wantRequest(t, events, handstamp.StepServer, http.StatusUnauthorized); r.Code != "invalid_token" {
		t.Errorf("the rejected request has the code %q", r.Code)
	}
	wantDecision(t, events, "grant", "refresh_token", "the access token does not work")
	if r := wantRequest(t, events, handstamp.StepToken, http.StatusBadRequest); r.Code != "invalid_grant" {
		t.Errorf("the rejected refresh has the code %q", r.Code)
	}
	if e := find(events, func(e handstamp.Event) bool {
		return e.Step == handstamp.StepReauthorization && strings.Contains(e.Message, "a login is needed")
	}); e == nil {
		t.Error("no event tells that a login follows")
	}
}

// A form of authentication that the server rejects, and what is tried next, are events.
func TestEventsOfAMethodThatIsNotKnown(t *testing.T) {
	w, l := testenv.New(t, lab.Habits{Methods: []string{lab.MethodBasic, lab.MethodPost}}), new(listener)
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "a-secret-of-the-app", Method: lab.MethodPost})
	c := l.on(w.Session())
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: "a-secret-of-the-app"}
	w.MustLogin(c)
	events := l.take()
	wantDecision(t, events, "token endpoint auth method", "client_secret_basic", "by default")
	wantDecision(t, events, "token endpoint auth method", "client_secret_post", "")
	if r := wantRequest(t, events, handstamp.StepToken, http.StatusUnauthorized); r.Code != "invalid_client" || r.AuthMethod != "client_secret_basic" {
		t.Errorf("the rejected request is %+v", r)
	}
}

// Events are plain data: what is written as JSON is read back.
func TestEventsAreReadBackFromJSON(t *testing.T) {
	w, l := testenv.New(t, lab.NoneFirst()), new(listener)
	w.MustLogin(l.on(w.Session()))
	events := l.take()
	text, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	var back []handstamp.Event
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(events, back) {
		t.Errorf("%d events came back as others", len(events))
	}
}

// The logger receives the same events, notices at a level of their own.
func TestLoggerRendersTheEvents(t *testing.T) {
	h := lab.NoneFirst()
	h.Offline = lab.OfflineParameter
	var debug, info lines
	w, l := testenv.New(t, h), new(listener)
	c := l.on(w.Session())
	c.Logger = slog.New(slog.NewTextHandler(&debug, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.MustLogin(c)
	words := strings.Fields(debug.String())
	for _, e := range l.take() {
		if !slices.Contains(words, "step="+string(e.Step)) {
			t.Errorf("the log has no record of the step %s", e.Step)
		}
	}
	if log := debug.String(); !strings.Contains(log, "request.status=200") || !strings.Contains(log, "request.params.grant_type=authorization_code") {
		t.Errorf("the log has no request: %s", log)
	}
	c = w.Session()
	c.Logger = slog.New(slog.NewTextHandler(&info, nil))
	w.MustLogin(c)
	if log := info.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "issued no refresh token") {
		t.Errorf("at level Info the log has %q, want the notice", log)
	}
}

// lines is a buffer for several goroutines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A hook and a log are the application's: what goes wrong in them does not end a refresh between the
// response and the store, which would lose the login where a refresh token serves once.
func TestPanicInAHookLosesNoLogin(t *testing.T) {
	for _, step := range []handstamp.EventStep{handstamp.StepToken, handstamp.StepRefresh, handstamp.StepStore, handstamp.StepAuthMethod} {
		t.Run(string(step), func(t *testing.T) {
			w, panics := testenv.New(t, lab.NoneFirst()), 0
			w.MustLogin(w.Session())
			w.Expire()
			c := w.Session()
			c.LoginPolicy = handstamp.LoginNever
			c.Hooks.Event = func(e handstamp.Event) {
				if e.Step == step {
					panics++
					panic("a fault of the application")
				}
			}
			var log lines
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if err := w.Call(c); err != nil || panics == 0 {
				t.Errorf("the request after %d panics: %v", panics, err)
			}
			if !strings.Contains(log.String(), "the hook panics") {
				t.Errorf("the log has %q", log.String())
			}
			w.Expire()
			w.MustCall(w.Session())
			w.WantCounts(map[string]int{"token:refresh": 2, "authorize": 1})
		})
	}
}

// However many wait for a refresh, its events are those of one, in their order.
func TestEventsOfARefreshForManyAreInOrder(t *testing.T) {
	w, l := testenv.New(t, lab.NoneFirst()), new(listener)
	w.MustLogin(w.Session())
	w.Expire()
	c := l.on(w.Session())
	w.CallAtOnce(20, func() *handstamp.Client { return c })
	var order []string
	for _, e := range l.take() {
		switch {
		case e.Decision != nil && e.Step == handstamp.StepRefresh:
			order = append(order, "begins")
		case e.Request != nil && e.Step == handstamp.StepToken:
			order = append(order, "request")
		case e.Step == handstamp.StepStore && e.Detail("took") != "":
			order = append(order, "stored")
		case e.Step == handstamp.StepRefresh:
			order = append(order, "ends")
		}
	}
	order = slices.Compact(order)                                                 // it is stored in steps
	if n := len(order); n > 1 && order[n-1] == "stored" && order[n-2] == "ends" { // that the server has accepted the token
		order = order[:n-1]
	}
	if want := []string{"begins", "stored", "request", "stored", "ends"}; !slices.Equal(order, want) {
		t.Errorf("the events are in the order %q, want %q", order, want)
	}
}

// What comes back from the browser has names that anyone chooses.
func TestNamesInACallbackAreSafeToShow(t *testing.T) {
	w, l := testenv.New(t, lab.NoneFirst()), new(listener)
	c := l.on(w.Session())
	c.Prompt = handstamp.Prompt{Authorize: func(context.Context, handstamp.AuthorizationRequest) (url.Values, error) {
		return url.Values{"error": {"access_denied"}, "\x1b[31mred\u202e": {"x"}, strings.Repeat("n", 5000): {"y"}}, nil
	}}
	if err := w.Login(c); err == nil {
		t.Fatal("the login worked")
	}
	seen := false
	for _, e := range l.take() {
		seen = seen || e.Step == handstamp.StepCallback
		if text := e.String(); len(text) > 2000 || strings.ContainsAny(text, "\x1b\u202e") {
			t.Errorf("%d bytes: %.300q", len(text), text)
		}
	}
	if !seen {
		t.Error("there is no event of the callback")
	}
}

// still is a RoundTripper that responds at once.
type still struct{}

func (still) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// warm returns a transport whose token is fresh.
func warm(tb testing.TB, listen func(*handstamp.Client)) (http.RoundTripper, *http.Request) {
	w := testenv.New(tb, lab.Habits{})
	w.MustLogin(w.Session())
	c := w.Session()
	listen(c)
	c.BaseTransport, c.AuthTransport = still{}, http.DefaultTransport
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, w.Lab.MCPURL(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	transport := c.Transport(w.Lab.MCPURL())
	send(tb, transport, req)
	return transport, req
}

func send(tb testing.TB, transport http.RoundTripper, req *http.Request) {
	resp, err := transport.RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// A request that needs nothing but the stored token makes no event, and costs no more with a
// listener than without.
func TestWarmRequestMakesNoEvent(t *testing.T) {
	l := new(listener)
	quiet, request := warm(t, func(*handstamp.Client) {})
	without := proctest.Allocations(100, func() { send(t, quiet, request) })
	heard, request := warm(t, func(c *handstamp.Client) { l.on(c) })
	l.take()
	with := proctest.Allocations(100, func() { send(t, heard, request) })
	if events := l.take(); len(events) > 0 {
		t.Errorf("%d events: %v", len(events), events[0])
	}
	if with != without {
		t.Errorf("%v allocations with a listener, %v without", with, without)
	}
}

func BenchmarkWarmRequest(b *testing.B) {
	for name, listen := range map[string]func(*handstamp.Client){
		"without a listener": func(*handstamp.Client) {},
		"with a listener":    func(c *handstamp.Client) { new(listener).on(c) },
	} {
		b.Run(name, func(b *testing.B) {
			transport, req := warm(b, listen)
			b.ReportAllocs()
			for b.Loop() {
				send(b, transport, req)
			}
		})
	}
}
