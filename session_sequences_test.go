package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// The model test walks all sequences of what a user and their programs do, at servers
// in each of these states, and checks after every step that what the library reports
// contradicts neither earlier reports nor what the servers do. The steps are those of
// separate processes with one store, and once more those of one process.

// modelStates are what has become of the servers since the login, one minute ago.
var modelStates = map[string]func(m *model){
	"everything is fine":           func(*model) {},
	"access token expired":         func(*model) { time.Sleep(time.Hour) },                       // in the bubble
	"access token near its expiry": func(*model) { time.Sleep(58*time.Minute + 30*time.Second) }, // in the bubble
	"access token rejected":        func(m *model) { m.lab.RevokeAccessTokens() },
	"refresh token dead":           func(m *model) { m.killRefreshToken() },
	"refresh token dead, access token near its expiry": func(m *model) {
		m.killRefreshToken()
		time.Sleep(58*time.Minute + 30*time.Second) // in the bubble
	},
	"refresh token dead, access token rejected": func(m *model) { m.lab.RevokeFamilies() },
	"no refresh token":                          func(m *model) { m.dropRefreshToken() },
	"no refresh token, access token rejected": func(m *model) {
		m.dropRefreshToken()
		m.lab.RevokeAccessTokens()
	},
	"authorization server down": func(m *model) { m.authorizationServerDown() },
	"authorization server down, access token expired": func(m *model) {
		m.authorizationServerDown()
		time.Sleep(time.Hour) // in the bubble
	},
	"authorization server down, access token rejected": func(m *model) {
		m.authorizationServerDown()
		m.lab.RevokeAccessTokens()
	},
	"MCP server down": func(m *model) { m.mcpServerDown() },
	"MCP server down, access token expired": func(m *model) {
		m.mcpServerDown()
		time.Sleep(time.Hour) // in the bubble
	},
	"client forgotten": func(m *model) { m.lab.ForgetClients() },
	"client forgotten, access token rejected": func(m *model) {
		m.lab.ForgetClients()
		m.lab.RevokeAccessTokens()
	},
	"refresh rejected ahead of the expiry": func(m *model) { m.rejectEarly = true },
	"refresh rejected ahead of the expiry, access token rejected": func(m *model) {
		m.rejectEarly = true
		m.lab.RevokeAccessTokens()
	},
	"refresh rejected with an unclear 4xx": func(m *model) { m.unclear = true },
	"refresh rejected with an unclear 4xx, access token rejected": func(m *model) {
		m.unclear = true
		m.lab.RevokeAccessTokens()
	},
}

// modelSteps are what is done.
var modelSteps = []string{"token", "token --refresh", "login", "call", "call --login=auto", "logout", "minutes pass"}

// How long the sequences are: of processes, and of steps in one process, whose
// memory makes more of them different.
const (
	modelDepth           = 5
	modelDepthOneProcess = 3
	modelDepthShort      = 2
)

// model is one world of the test.
type model struct {
	t     *testing.T
	lab   *lab.Server
	store store.Store
	one   *handstamp.Client // the process, if there is only one
	state string
	steps []string

	first *record.Grant // of the login that everything begins with

	asDown, mcpDown, rejectEarly, unclear bool

	mu       sync.Mutex // guards what follows
	dead     map[string]bool
	rejected map[string]bool // access tokens, by the MCP server
	issued   time.Time       // the last access token
	tabs     int
}

func newModel(t *testing.T, state string, oneProcess bool) *model {
	server, err := lab.New(lab.NoneFirst(), lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := &model{t: t, lab: server, store: new(store.Memory), state: state, dead: map[string]bool{}, rejected: map[string]bool{}}
	if oneProcess {
		m.one = m.newClient()
	}
	if _, err := m.client(handstamp.LoginNever).Login(t.Context(), server.MCPURL(), handstamp.LoginOptions{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute) // in the bubble
	m.first = m.record().Grant
	modelStates[state](m)
	m.tabs = 0
	return m
}

func (m *model) newClient() *handstamp.Client {
	return &handstamp.Client{
		Store: m.store, BaseTransport: m, AuthTransport: m, LoginPolicy: handstamp.LoginNever,
		Prompt: handstamp.Prompt{Authorize: m.authorize},
	}
}

// client returns the process that takes the next step. One process has one policy.
func (m *model) client(policy handstamp.LoginPolicy) *handstamp.Client {
	if m.one != nil {
		return m.one
	}
	c := m.newClient()
	c.LoginPolicy = policy
	return c
}

// authorize is the user's browser.
func (m *model) authorize(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	m.mu.Lock()
	m.tabs++
	m.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, err
	}
	resp, err := m.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("the page shows status %d", resp.StatusCode)
	}
	return back.Query(), nil
}

// RoundTrip reaches the servers, and sees which access tokens are rejected.
func (m *model) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil && strings.HasSuffix(req.URL.Path, "/token") {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(strings.NewReader(string(body)))
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		if code := m.refreshError(form.Get("refresh_token")); code != "" {
			return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/json"}},
				Body: io.NopCloser(strings.NewReader(`{"error":"` + code + `"}`)), Request: req}, nil
		}
	}
	resp, err := m.lab.RoundTripper().RoundTrip(req)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch token, bearer := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); {
	case bearer && resp.StatusCode == http.StatusUnauthorized:
		m.rejected[token] = true
	case strings.HasSuffix(req.URL.Path, "/token") && resp.StatusCode == http.StatusOK:
		m.issued = time.Now()
	}
	return resp, nil
}

// refreshError returns the error code with which a refresh is rejected, if it is.
func (m *model) refreshError(token string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case token == "" || m.asDown:
		return ""
	case m.dead[token], m.rejectEarly && time.Since(m.issued) < time.Hour:
		return "invalid_grant"
	case m.unclear:
		return "something_else"
	}
	return ""
}

func (m *model) record() *record.Record {
	m.t.Helper()
	key, err := store.NewKey(m.lab.MCPURL(), "")
	if err != nil {
		m.t.Fatal(err)
	}
	rec, err := record.Get(m.t.Context(), m.store, key)
	if errors.Is(err, store.ErrNotFound) {
		return &record.Record{}
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return rec
}

func (m *model) killRefreshToken() { m.dead[m.record().Grant.RefreshToken.Reveal()] = true }

func (m *model) dropRefreshToken() {
	rec := m.record()
	rec.Grant.RefreshToken = ""
	if err := record.Put(m.t.Context(), m.store, rec); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) authorizationServerDown() {
	m.asDown = true
	for _, endpoint := range []string{"server_metadata", "register", "authorize", "token:refresh", "token:code", "revoke"} {
		m.lab.SetFault(endpoint, lab.Fault{Kind: lab.FaultStatus, Status: http.StatusServiceUnavailable})
	}
}

func (m *model) mcpServerDown() {
	m.mcpDown = true
	m.lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusServiceUnavailable})
}

// errMCPServer is a response of the MCP server's own, about something else than the
// login.
var errMCPServer = errors.New("the MCP server responds with an error")

// exit returns the exit code that the command has for an error.
func exit(err error) int {
	for code, kinds := range map[int][]error{
		3: {handstamp.ErrUnreachable, errMCPServer}, 4: {handstamp.ErrLoginRequired, handstamp.ErrClientRejected},
		5: {handstamp.ErrDenied, handstamp.ErrTimeout}, 6: {handstamp.ErrProtocol}, 7: {handstamp.ErrStore},
	} {
		for _, kind := range kinds {
			if errors.Is(err, kind) {
				return code
			}
		}
	}
	if err != nil {
		return 1
	}
	return 0
}

// modelOutcome is what one step came to.
type modelOutcome struct {
	code    int
	err     error
	token   string // printed
	already bool
}

func (m *model) do(step string) (o modelOutcome) {
	ctx, server := m.t.Context(), m.lab.MCPURL()
	switch step {
	case "token", "token --refresh":
		var token *handstamp.Token
		token, o.err = m.client(handstamp.LoginNever).Token(ctx, server, handstamp.TokenOptions{Refresh: step != "token"})
		if token != nil {
			o.token = token.Value.Reveal()
		}
	case "login":
		var result *handstamp.LoginResult
		if result, o.err = m.client(handstamp.LoginNever).Login(ctx, server, handstamp.LoginOptions{}); o.err == nil {
			o.already, o.err = result.Already, result.Rejected
		}
	case "call":
		o.err = m.call(handstamp.LoginNever)
	case "call --login=auto":
		o.err = m.call(handstamp.LoginAuto)
	case "logout":
		_, o.err = m.client(handstamp.LoginNever).Logout(ctx, server, handstamp.LogoutOptions{})
	case "minutes pass":
		time.Sleep(2 * time.Minute) // in the bubble
	default:
		m.t.Fatal(step)
	}
	o.code = exit(o.err)
	return o
}

// call makes a tool call.
func (m *model) call(policy handstamp.LoginPolicy) error {
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.lab.MCPURL(), strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := m.client(policy).HTTPClient(m.lab.MCPURL()).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	switch {
	case resp.StatusCode >= http.StatusInternalServerError:
		return errMCPServer
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

func (m *model) status() *handstamp.Status {
	m.t.Helper()
	st, err := m.client(handstamp.LoginNever).Status(m.t.Context(), m.lab.MCPURL())
	if err != nil {
		m.t.Fatal(err)
	}
	return st
}

// requests counts what went to both servers.
func (m *model) requests() int { return len(m.lab.Requests()) }

// changed is what a step may change: if nothing of it did, what follows is what
// follows without the step.
func (m *model) changed() string {
	counts := m.lab.Counts()
	return fmt.Sprint(m.record().Revision, counts["token:refresh"], counts["token:code"], counts["register"], counts["revoke"],
		len(m.rejected), time.Now().Truncate(time.Minute))
}

// step takes the last step of a sequence and checks every sentence about it. It
// reports whether the world has changed.
func (m *model) step(step string) bool {
	before, usable, tabs, kept := m.changed(), m.status().Usable(), m.tabs, m.record().Grant
	o := m.do(step)
	changed := m.changed() != before
	sentence := func(holds bool, sentence string) {
		m.t.Helper()
		if !holds {
			m.t.Errorf("%s: %s, after exit %d (%v) with status %s", sentence, strings.Join(m.steps, ", "), o.code, o.err, m.status().State)
		}
	}
	opened, after, generation, sent := m.tabs-tabs, m.status(), m.record().Revision, m.requests()
	sentence(m.record().Revision == generation && m.requests() == sent, "status only reads")
	sentence(o.code != 1 && o.code != 5 && o.code != 6 && o.code != 7, "each exit code is one that the state of the servers explains")
	sentence(o.code != 3 || m.asDown || m.mcpDown || m.unclear, "a server is called unreachable only where one does not do its work")
	sentence(o.token == "" || !m.rejected[o.token], "a token that is printed is none that the server has rejected before us")
	sentence(opened == 0 || step == "login" || step == "call --login=auto", "only a login opens a browser")
	sentence(opened == 0 || !m.asDown, "no browser opens while the authorization server is down")
	sentence(opened == 0 || !m.mcpDown || !usable, "no browser opens for a login that cannot be tried")
	if g := m.record().Grant; o.code == 3 && kept != nil {
		sentence(g != nil && g.RefreshToken == kept.RefreshToken || m.mcpDown, "a server that is unreachable takes no refresh token away")
	}
	switch step {
	case "token", "token --refresh":
		sentence(o.code == 0 || o.code == 3 || o.code == 4, "token prints a token, or says that a server is unreachable or a login required")
		sentence(after.Usable() == (o.code != 4), "status calls a login usable after token exits with 0 or 3, and not after 4")
		sentence(usable || o.code == 4, "token exits with 4 after status has called the login not usable")
		sentence(step == "token" || kept == nil || o.token != kept.AccessToken.Reveal(), "token --refresh prints another token")
	case "login":
		sentence(o.code != 4, "a user who runs login ends signed in, or knows why not")
		sentence(o.code != 0 || after.Usable(), "status calls a login usable after login exits with 0")
		sentence(o.already == (o.code == 0 && opened == 0), "login says that the user was signed in already where no browser opened")
		if o.code == 0 && !m.mcpDown {
			sentence(m.call(handstamp.LoginNever) == nil, "after login exits with 0 a request works")
		}
	case "call", "call --login=auto":
		sentence(o.code != 4 || !after.Usable(), "status calls a login not usable after a request needed another")
		sentence(o.code != 0 || after.Usable(), "status calls a login usable after a request worked")
		sentence(step == "call" || o.code != 4 || m.one != nil, "a request that may sign in does not end for want of a login")
	case "logout":
		sentence(!after.Usable(), "status calls no login usable after logout")
		sentence(m.do("token").code == 4, "token exits with 4 after logout")
	}
	if !after.Usable() {
		sent := m.requests()
		sentence(m.do("token").code == 4 && m.requests() == sent, "token exits with 4 and sends nothing where status calls the login not usable")
	}
	return changed
}

// signature describes what the next process finds: two worlds with the same one go on
// in the same way.
func (m *model) signature() string {
	rec := m.record()
	g, now := rec.Grant, time.Now()
	if g == nil {
		g = &record.Grant{}
	}
	client, retry, rejection := &record.Client{}, &record.Retry{}, &record.GrantError{}
	if c := rec.NewestClient(m.lab.Issuer()); c != nil {
		client = c
	}
	if rec.Retry != nil && now.Before(rec.Retry.NotBefore) {
		retry = rec.Retry
	}
	if rec.GrantError != nil {
		rejection = rec.GrantError
	}
	return fmt.Sprint(
		rec.Grant == nil, g.AccessToken == m.first.AccessToken, g.RefreshToken == m.first.RefreshToken, g.RefreshToken == "",
		g.ClientID == m.first.ClientID, g.Rejected, g.Accepted, m.rejected[g.AccessToken.Reveal()], g.ExpiresAt.Sub(now).Round(time.Minute),
		len(rec.Clients), client.ID == m.first.ClientID, client.Rejected, rec.Intent != nil, rec.PendingLogin != nil, rec.LoginFailure != nil,
		retry.NotBefore.IsZero(), retry.Reason, retry.Failures > 0, rejection.Code, len(rec.AutomaticLogins),
		now.Sub(m.issued).Round(time.Minute))
}

// walker walks the sequences at servers in one state.
type walker struct {
	state      string
	oneProcess bool
	walked     map[string]int // the steps left, by the signature that they were walked from
	sequences  int
}

// walk takes every step that can follow the sequence so far. A step that changes
// nothing is not gone on from, for what would follow is walked without it; nor is one
// to a world in which another sequence, as short, has arrived.
func (w *walker) walk(t *testing.T, prefix []string) {
	depth := modelDepth
	if w.oneProcess {
		depth = modelDepthOneProcess
	}
	if testing.Short() || testenv.RaceDetector {
		depth = modelDepthShort // the longer sequences take a minute of processor time
	}
	for _, step := range modelSteps {
		goOn, signature := false, ""
		steps := append(prefix[:len(prefix):len(prefix)], step)
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, w.state, w.oneProcess)
			for _, earlier := range prefix {
				m.do(earlier)
			}
			m.steps = steps
			goOn, signature = m.step(step), m.signature()
			if m.one != nil {
				m.one.Close(t.Context())
			}
		})
		if t.Failed() {
			return
		}
		w.sequences++
		left := depth - len(steps)
		if !w.oneProcess {
			goOn = goOn && left > w.walked[signature]
			w.walked[signature] = max(left, w.walked[signature])
		}
		if goOn && left > 0 {
			w.walk(t, steps)
		}
	}
}

func TestNoSequenceContradictsItself(t *testing.T) {
	t.Parallel()
	for state := range modelStates {
		for _, oneProcess := range []bool{false, true} {
			if !oneProcess && (testenv.RaceDetector || testing.Short()) {
				continue // each step is a Client of its own, one after the other: they share the store alone
			}
			t.Run(fmt.Sprintf("%s/one process %t", state, oneProcess), func(t *testing.T) {
				t.Parallel()
				start := time.Now()
				w := &walker{state: state, oneProcess: oneProcess, walked: make(map[string]int)}
				w.walk(t, nil)
				t.Logf("%d sequences of steps, %d worlds, in %v", w.sequences, len(w.walked), time.Since(start).Round(time.Millisecond))
			})
		}
	}
}
