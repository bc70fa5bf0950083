package handstamp_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

func TestAuditRecords(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	var log bytes.Buffer
	session := func() *handstamp.Client {
		c := w.Session()
		c.Audit = slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo})
		return c
	}
	w.MustLogin(session())
	w.Expire()
	w.MustCall(session())
	if _, err := session().Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
		t.Fatal(err)
	}
	w.MustLogin(session())
	w.Lab.RevokeFamilies()
	w.Expire()
	c := session()
	c.LoginPolicy = handstamp.LoginNever
	testenv.WantKind(t, w.Call(c), handstamp.ErrLoginRequired)
	// A login that the user does not complete.
	c = session()
	c.Prompt = handstamp.Prompt{Authorize: func(_ context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
		return url.Values{"error": {"access_denied"}, "state": {r.State}, "iss": {r.Issuer}}, nil
	}}
	testenv.WantKind(t, w.Login(c), handstamp.ErrDenied)

	var got []string
	for line := range strings.Lines(log.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r[handstamp.AuditServer] != w.Lab.MCPURL() || r[handstamp.AuditProfile] != "default" || r["level"] != "INFO" {
			t.Errorf("record without its server: %s", line)
		}
		text := fmt.Sprint(r["msg"], " ", r[handstamp.AuditOutcome])
		for _, name := range []string{handstamp.AuditRotated, handstamp.AuditRevoked} {
			if r[name] == true {
				text += " " + name
			}
		}
		got = append(got, text)
	}
	want := []string{
		"registration registered", "login signed_in", "refresh refreshed rotated", "logout signed_out revoked",
		"registration registered", "login signed_in", "refresh ended",
		"registration registered", "login denied", // with another redirect URI
	}
	if !slices.Equal(got, want) {
		t.Errorf("records:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, secret := range w.Lab.Secrets() {
		if strings.Contains(log.String(), secret) {
			t.Error("the log has a secret")
		}
	}
}

// repeating is an authorization server's transport: the responses of one endpoint are changed.
func repeating(path string, change func(map[string]any)) http.RoundTripper {
	return testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil || req.URL.Path != path {
			return resp, err
		}
		defer resp.Body.Close()
		members := make(map[string]any)
		if err := json.NewDecoder(resp.Body).Decode(&members); err != nil {
			return nil, err
		}
		change(members)
		text, err := json.Marshal(members)
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		return resp, err
	})
}

// A server that repeats a secret where it has none does not bring it into the log, and none makes its
// records large.
func TestAuditRecordsOfAServerThatRepeatsSecrets(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	var log bytes.Buffer
	var events []handstamp.LoginEvent
	const initial = "an-initial-access-token"
	session := func(path string, change func(map[string]any)) *handstamp.Client {
		c := w.Session()
		c.AuthTransport, c.InitialAccessToken = repeating(path, change), initial
		c.Audit = slog.NewJSONHandler(&log, nil)
		c.Hooks.LoggedIn = func(e handstamp.LoginEvent) { events = append(events, e) }
		return c
	}
	c := session("/token", func(members map[string]any) {
		repeated := base64.StdEncoding.EncodeToString([]byte(fmt.Sprint(members["refresh_token"])))
		members["scope"] = fmt.Sprint("mcp ", members["refresh_token"], " x:", members["access_token"], " ", repeated,
			" ", strings.Repeat("s ", 10_000))
	})
	w.MustLogin(c)
	status, err := c.Status(t.Context(), w.Lab.MCPURL())
	if err != nil {
		t.Fatal(err)
	}
	c = session("/register", func(members map[string]any) { members["client_id"] = "client-" + initial })
	c.Store = new(store.Memory)
	c.Prompt = handstamp.Prompt{Authorize: func(_ context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
		return url.Values{"error": {"access_denied"}, "state": {r.State}, "iss": {r.Issuer}}, nil
	}}
	testenv.WantKind(t, w.Login(c), handstamp.ErrDenied)
	if !strings.Contains(log.String(), "registered") || !strings.Contains(log.String(), `"scope":"mcp`) {
		t.Errorf("the log has no record of both: %s", &log)
	}
	if len(events) == 0 || len(events[0].Scope) > 2000 {
		t.Errorf("%d events; the scope of the first has %d bytes", len(events), len(events[0].Scope))
	}
	shown := log.String() + fmt.Sprint(events)
	for _, secret := range append(w.Lab.Secrets(), initial) {
		if strings.Contains(shown+status.Scope, secret) ||
			strings.Contains(shown, base64.StdEncoding.EncodeToString([]byte(secret))) {
			t.Error("a record, an event or the status has a secret")
		}
	}
}

// namingIssuer is the transport of an MCP server that names an authorization server whose issuer has a
// text in it, and of that authorization server, which is the lab's under another name.
func namingIssuer(w *testenv.Env, text string) http.RoundTripper {
	issuer := w.Lab.Issuer() + "/" + text
	return testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		const resource, server = "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server"
		req = req.Clone(req.Context())
		if _, ok := strings.CutPrefix(req.URL.Path, server); ok {
			req.URL.Path = server
		}
		change := func(members map[string]any) { members["authorization_servers"] = []string{issuer} }
		if req.URL.Path == server {
			change = func(members map[string]any) {
				members["issuer"] = issuer
				delete(members, "authorization_response_iss_parameter_supported")
			}
		} else if !strings.HasPrefix(req.URL.Path, resource) {
			return http.DefaultTransport.RoundTrip(req)
		}
		return repeating(req.URL.Path, change).RoundTrip(req)
	})
}

// A server that names an authorization server with the user's token in its URL does not bring the token
// into the log, nor in the clear into a database.
func TestAuditRecordsOfAnIssuerWithASecret(t *testing.T) {
	for name, test := range map[string]struct {
		text func(token string) string
		want error
	}{
		"a name":          {func(string) string { return "tenant" }, nil},
		"like a token":    {func(token string) string { return token[:len(token)-1] }, nil},
		"the token":       {func(token string) string { return "x-" + token }, handstamp.ErrProtocol},
		"it, escaped":     {func(token string) string { return "%" + fmt.Sprintf("%x", token[0]) + token[1:] }, handstamp.ErrProtocol},
		"it, in capitals": {strings.ToUpper, handstamp.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			w.MustLogin(w.Session())
			token := w.Record().Grant.AccessToken.Reveal()
			var log bytes.Buffer
			due := &scheduledStore{Store: w.Store}
			c := w.Session()
			c.Store, c.AuthTransport = due, namingIssuer(w, test.text(token))
			c.Audit = slog.NewJSONHandler(&log, nil)
			c.Prompt = handstamp.Prompt{Authorize: func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
				response, err := w.Consent(ctx, r)
				response.Del("iss")
				return response, err
			}}
			_, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if test.want == nil {
				return
			}
			shown := strings.ToLower(log.String() + fmt.Sprint(err, due.last.Load()))
			if !strings.Contains(shown, "protocol") || strings.Contains(shown, strings.ToLower(token)) {
				t.Errorf("the token is shown, or no login is: %s", shown)
			}
		})
	}
}

// A handler that panics loses no login.
func TestAuditPanics(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	c := w.Session()
	c.Audit = panicHandler{slog.DiscardHandler}
	w.MustLogin(c)
	w.Expire()
	c = w.Session()
	c.Audit = panicHandler{slog.DiscardHandler}
	w.MustCall(c)
}

// Hooks for what has ended that panic neither end the process nor a request.
func TestResultHooksPanic(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	called := 0
	session := func() *handstamp.Client {
		c := w.Session()
		c.Hooks.LoggedIn = func(handstamp.LoginEvent) { called++; panic("no") }
		c.Hooks.Refreshed = func(handstamp.RefreshEvent) { called++; panic("no") }
		c.Prompt.Ended = func(string) { called++; panic("no") }
		return c
	}
	w.MustCall(session())
	w.Expire()
	w.MustCall(session())
	if called != 3 { // a login and its end, and a refresh
		t.Errorf("the hooks were called %d times", called)
	}
}

// A hook that takes its time keeps no other process from the next refresh.
func TestResultHookHangs(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	w.MustLogin(w.Session())
	w.Expire()
	slow := w.Session()
	began, release := make(chan bool), make(chan bool)
	slow.Hooks.Refreshed = func(handstamp.RefreshEvent) {
		close(began)
		<-release
	}
	done := make(chan error)
	go func() { done <- w.Call(slow) }()
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	if _, err := w.Session().Token(ctx, w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err != nil {
		t.Errorf("another process: %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// hangingHandler is a handler of an audit log that does not return from one kind of record.
type hangingHandler struct {
	slog.Handler
	kind    string
	hangs   chan struct{} // is closed when it does
	release chan struct{}
}

func (h *hangingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *hangingHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.kind {
		close(h.hangs)
		<-h.release
	}
	return nil
}

// An audit log that takes its time keeps no other process from a login, nor from the client that is
// registered for all.
func TestAuditOfALoginHangs(t *testing.T) {
	for _, kind := range []string{handstamp.AuditLogin, handstamp.AuditRegistration} {
		for name, login := range map[string]func(context.Context, *testenv.Env, *handstamp.Client) error{
			"Login": func(ctx context.Context, w *testenv.Env, c *handstamp.Client) error {
				_, err := c.Login(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
				return err
			},
			"steps": signInWithSteps,
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				w := testenv.New(t, lab.Habits{})
				shared := new(store.Memory)
				session := func() *handstamp.Client {
					c := w.Session()
					c.ClientStore, c.RedirectURI = shared, "http://127.0.0.1:1/callback"
					c.Prompt = handstamp.Prompt{Authorize: w.Consent}
					return c
				}
				ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
				defer cancel()
				slow := session()
				log := &hangingHandler{slog.DiscardHandler, kind, make(chan struct{}), make(chan struct{})}
				slow.Audit = log
				done := make(chan error, 1)
				go func() { done <- login(ctx, w, slow) }()
				select {
				case <-log.hangs:
				case <-ctx.Done():
					t.Fatal("there is no such record")
				}
				if err := login(ctx, w, session()); err != nil {
					t.Errorf("another process: %v", err)
				}
				other := session()
				other.Store = new(store.Memory) // of another user
				if err := login(ctx, w, other); err != nil {
					t.Errorf("another user: %v", err)
				}
				w.WantCounts(map[string]int{"register": 1})
				close(log.release)
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// signInWithSteps signs in as an application with users does.
func signInWithSteps(ctx context.Context, w *testenv.Env, c *handstamp.Client) error {
	step, err := c.BeginLogin(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
	if err != nil {
		return err
	}
	response, err := w.Consent(ctx, step.Request)
	if err == nil {
		_, err = c.CompleteLogin(ctx, step.Suspended, response)
	}
	return err
}

type panicHandler struct{ slog.Handler }

func (panicHandler) Enabled(context.Context, slog.Level) bool { panic("no") }

// TestAuditNamesAreDocumented holds the table in the docs to the constants.
func TestAuditNamesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/observe.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range constantsOf(t, "audit.go") {
		if !bytes.Contains(page, []byte("| `"+value+"` |")) {
			t.Errorf("docs/observe.md has no row for %q (%s)", value, name)
		}
	}
}

// constantsOf returns the exported text constants of a file.
func constantsOf(t *testing.T, file string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !spec.Names[0].IsExported() {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == gotoken.STRING {
			all[spec.Names[0].Name], _ = strconv.Unquote(lit.Value)
		}
		return true
	})
	return all
}
