package handstamp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// The first rejection of a login stays in the error of what was tried after it.
func TestFirstRejectionStaysInTheError(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Lab.ForgetClients()
	w.Lab.SetFault("register", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusForbidden})
	_, err := w.Session().Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
	testenv.WantKind(t, err, handstamp.ErrRegistrationRequired)
	if err == nil || !strings.Contains(err.Error(), "registration endpoint returned status 403 (and before that: oauth: the authorization endpoint returned") {
		t.Errorf("error %v", err)
	}
}

// What the application does wrong is not called the server's trouble.
func TestKindsOfLoginErrors(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	c := w.Session()
	boom := errors.New("the window was closed")
	c.Prompt.Authorize = func(context.Context, handstamp.AuthorizationRequest) (url.Values, error) { return nil, boom }
	err := w.Call(c)
	if errors.Is(err, handstamp.ErrUnreachable) || !errors.Is(err, boom) {
		t.Errorf("error %v of a hook that failed", err)
	}
	c = w.Session()
	c.Registration = &handstamp.Registration{}
	if err := w.Call(c); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("error %v, want ErrInvalidConfig for an empty client id", err)
	}
}

// An Error that an application makes has a text, whatever it leaves out.
func TestTextOfAnIncompleteError(t *testing.T) {
	for want, e := range map[string]handstamp.Error{
		"unknown error":               {},
		"unknown error: x; try again": {Err: errors.New("x"), Hint: "try again"},
		"y":                           {Message: "y"},
		"the client is closed":        {Kind: handstamp.ErrClosed},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A network error of the MCP server is of a kind of this package, and still what
// it was to those who look further.
func TestNetworkErrorOfTheServerIsUnreachable(t *testing.T) {
	stalled := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // or the end of the connection is not noticed
		<-r.Context().Done()
	}))
	t.Cleanup(stalled.Close)
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	}))
	t.Cleanup(cut.Close)
	boom := errors.New("boom")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		server  string
		ctx     context.Context
		base    http.RoundTripper
		timeout time.Duration // of the http.Client
		headers time.Duration // of the transport
		is      []error
		not     []error
		late    bool // it is a timeout
	}{
		"nothing listens": {server: "http://" + proctest.UnreachableAddress(t), is: []error{handstamp.ErrUnreachable, handstamp.ErrServerUnreachable}, not: []error{context.Canceled}},
		"cut off":         {server: cut.URL, is: []error{handstamp.ErrUnreachable, io.EOF}},
		"another error":   {server: cut.URL, base: failing{boom}, is: []error{handstamp.ErrUnreachable, boom}},
		"canceled":        {server: stalled.URL, ctx: canceled, is: []error{context.Canceled}, not: []error{handstamp.ErrUnreachable}},
		"client's timeout": {server: stalled.URL, timeout: 50 * time.Millisecond, is: []error{context.DeadlineExceeded}, late: true,
			not: []error{handstamp.ErrDenied}},
		"transport's timeout": {server: stalled.URL, headers: 50 * time.Millisecond, is: []error{handstamp.ErrServerUnreachable}, late: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := c.base
			if base == nil {
				base = &http.Transport{ResponseHeaderTimeout: c.headers}
			}
			client := (&handstamp.Client{BaseTransport: base}).HTTPClient(c.server)
			client.Timeout = c.timeout
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err == nil {
				resp.Body.Close()
				t.Fatal("there is a response")
			}
			for _, want := range c.is {
				if !errors.Is(err, want) {
					t.Errorf("%v is not %v", err, want)
				}
			}
			for _, wrong := range c.not {
				if errors.Is(err, wrong) {
					t.Errorf("%v is %v", err, wrong)
				}
			}
			var outer *url.Error
			if !errors.As(err, &outer) || outer.Timeout() != c.late {
				t.Errorf("%v: timeout is not %v", err, c.late)
			}
			if op := (*net.OpError)(nil); name == "nothing listens" && !errors.As(err, &op) {
				t.Errorf("%v hides the network's error", err)
			}
		})
	}
}

// failing is a RoundTripper that fails.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// A request that ends while a login waits for the user says so. The login goes on
// without it.
func TestRequestThatEndsDuringALogin(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	opened := make(chan string, 1)
	c := w.Session()
	c.Prompt.OpenURL = func(_ context.Context, rawURL string) error {
		w.Tabs.Add(1)
		opened <- rawURL
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- testenv.Call(ctx, c.HTTPClient(w.Lab.MCPURL()), w.Lab.MCPURL()) }()
	rawURL := <-opened
	cancel()
	err := <-ended
	if !errors.Is(err, context.Canceled) || !errors.Is(err, handstamp.ErrLoginRequired) || !strings.Contains(err.Error(), "a login is under way") {
		t.Errorf("the error is %v", err)
	}
	second := make(chan error, 1)
	go func() { second <- w.Call(c) }()
	if _, err := lab.Browse(t.Context(), rawURL); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Errorf("the next call: %v", err)
	}
	w.WantTabs(1)
}

// A login that ends leaves no URL behind that leads to a closed port.
func TestUnopenedBrowserIsNoDeadURL(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	c := w.Session()
	c.Prompt = handstamp.Prompt{OpenURL: func(context.Context, string) error { return errors.New("no screen") }}
	err := w.Login(c)
	var e *handstamp.Error
	if !errors.As(err, &e) || e.Kind != handstamp.ErrLoginRequired || !strings.Contains(e.Hint, "TerminalPrompt") {
		t.Fatalf("the error is %v", err)
	}
	if strings.Contains(err.Error(), "http://127.0.0.1") {
		t.Errorf("the error has a URL that nothing listens for: %v", err)
	}
}

// The error of a missing login is one sentence that names the server once.
func TestLoginRequiredIsOneSentence(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	url := w.Lab.MCPURL()
	c := w.Session()
	c.LoginPolicy = handstamp.LoginNever
	_, err := c.Token(t.Context(), url, handstamp.TokenOptions{})
	testenv.WantKind(t, err, handstamp.ErrLoginRequired)
	if want := "not signed in to " + url; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	w.WantCounts(map[string]int{"mcp": 0, "metadata": 0})
	w.MustCall(w.Session())
	w.Lab.RevokeFamilies()
	w.Expire()
	_, err = c.Token(t.Context(), url, handstamp.TokenOptions{})
	testenv.WantKind(t, err, handstamp.ErrLoginRequired)
	if err == nil || strings.Count(err.Error(), url) != 1 || !strings.Contains(err.Error(), "ended the login") {
		t.Errorf("error %q", err)
	}
}

// A configured client that is rejected after it has authenticated with a key before gets an error
// about how it authenticates now, and a cooldown.
func TestRejectedClientThatHadAKey(t *testing.T) {
	for method, requests := range map[string]int{"client_secret_basic": 2, "none": 1} { // Basic with and without client_id
		t.Run(method, func(t *testing.T) {
			testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
				w.MustLogin(w.Session())
				rec := w.Record()
				client := rec.Clients[0]
				client.Source, client.Method, client.MethodSource = record.SourceConfigured, "private_key_jwt", record.MethodConfigured
				w.Put(rec)
				w.Lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized,
					ContentType: "application/json", Body: `{"error":"invalid_client"}`})
				session := func() *handstamp.Client {
					c := w.Session()
					c.LoginPolicy = handstamp.LoginNever
					c.Registration = &handstamp.Registration{ClientID: client.ID, TokenEndpointAuthMethod: method}
					if method != "none" {
						c.Registration.ClientSecret = "not-the-right-one"
					}
					return c
				}
				w.AboutToExpire()
				w.MustCall(session()) // with the token, which is good
				w.WantCounts(map[string]int{"token:refresh": requests})
				w.Expire()
				for range 2 {
					err := w.Call(session())
					testenv.WantKind(t, err, handstamp.ErrClientRejected)
					if err == nil || !strings.Contains(err.Error(), "client secret") {
						t.Errorf("error %v", err)
					}
				}
				w.WantCounts(map[string]int{"token:refresh": requests})
			})
		})
	}
}
