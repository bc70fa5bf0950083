//go:build unix

package doctor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/doctor"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// signedIn returns an environment with a login.
func signedIn(t *testing.T, h lab.Habits) *testenv.Env {
	t.Helper()
	w := testenv.New(t, h)
	w.MustLogin(w.Session())
	return w
}

func TestDoctorNamesTheTrueCauseOfALoginThatStopsWorking(t *testing.T) {
	for name, trouble := range map[string]struct {
		happens func(w *testenv.Env)
		want    story
	}{
		"expired": {(*testenv.Env).Expire, story{after: doctor.CauseRefreshDue, command: "token",
			evidence: "Stored login: the access token does not work any more"}},
		"expired, and the last refresh failed": {func(w *testenv.Env) {
			w.Expire()
			rec := w.Record()
			rec.Retry = &record.Retry{NotBefore: time.Now().Add(-time.Minute), Failures: 1, Reason: "502"}
			w.Put(rec)
		}, story{after: doctor.CauseRefreshDue, command: "token", evidence: "the last attempt failed (502)"}},
		"expired without a refresh token": {func(w *testenv.Env) {
			rec := w.Record()
			rec.Grant.RefreshToken, rec.Grant.ExpiresAt = "", time.Now().Add(-time.Minute)
			w.Put(rec)
		}, story{after: doctor.CauseExpired, command: "login",
			evidence: "Stored login: it has expired, and cannot be refreshed"}},
		"access token revoked": {func(w *testenv.Env) { w.Lab.RevokeAccessTokens(); older(w) },
			story{after: doctor.CauseTokenRejected, command: "token", evidence: "initialize with the stored access token → 401"}},
		"everything revoked, and not known yet": {func(w *testenv.Env) { w.Lab.RevokeAccessTokens(); w.Lab.RevokeFamilies(); older(w) },
			story{after: doctor.CauseTokenRejected, command: "--refresh", evidence: "→ 401"}},
		"client forgotten while the token is good": {func(w *testenv.Env) { w.Lab.ForgetClients() },
			story{after: doctor.CauseNone, command: "tools", evidence: "made-up code → 401 invalid_client"}},
		"this clock is ahead": {func(w *testenv.Env) {
			w.Lab.SetClock(func() time.Time { return time.Now().Add(-2 * time.Hour) })
			w.Expire()
		},
			story{after: doctor.CauseClock, command: "doctor", evidence: "ahead of the server's"}},
		"this clock is behind": {func(w *testenv.Env) { w.Lab.Advance(2 * time.Hour); older(w) },
			story{after: doctor.CauseClock, command: "doctor", evidence: "behind the server's"}},
		"503 at the MCP server": {func(w *testenv.Env) { w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: 503}) },
			story{after: doctor.CauseServerTrouble, command: "doctor", evidence: "→ 503"}},
		"429 at the MCP server": {func(w *testenv.Env) { w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: 429}) },
			story{after: doctor.CauseServerTrouble, command: "doctor", evidence: "→ 429"}},
		"503 at the token endpoint": {func(w *testenv.Env) {
			w.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 503})
			rec := w.Record()
			rec.Grant.RefreshToken, rec.Grant.ExpiresAt = "", time.Now().Add(-time.Minute)
			w.Put(rec)
		}, story{after: doctor.CauseTokenEndpoint, command: "doctor", evidence: "→ 503"}},
		"redirected to another host": {func(w *testenv.Env) {
			w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultRedirect, Location: "http://elsewhere.test/mcp"})
		}, story{after: doctor.CauseRedirect, evidence: "http://elsewhere.test"}},
		"the server closed": {(*testenv.Env).Disconnect, story{after: doctor.CauseConnection, command: "doctor", evidence: "no connection to"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := signedIn(t, lab.Habits{})
			trouble.happens(w)
			r := examine(t, w)
			wantCause(t, r, trouble.want.after)
			wantReport(t, r, trouble.want.command, trouble.want.evidence)
		})
	}
}

// older makes the stored token one that was not issued just now.
func older(w *testenv.Env) {
	rec := w.Record()
	rec.Grant.ObtainedAt = rec.Grant.ObtainedAt.Add(-time.Minute)
	w.Put(rec)
}

// serve starts a server that is none of the lab's.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL + "/mcp"
}

func TestDoctorNamesWhatIsWrongWithAServer(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<h1>hello</h1>"))
	}
	wrongResource := func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "oauth-protected-resource") {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"resource":"https://another.example/mcp","authorization_servers":["https://another.example"]}`))
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="http://`+r.Host+`/.well-known/oauth-protected-resource"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	basic := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/mcp" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="it"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	open := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/mcp" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"open"}}}`))
	}
	oldTransport := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/mcp":
			http.NotFound(w, r)
		case r.Method != http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		default:
			w.Header().Set("Content-Type", "text/event-stream")
			w.Write([]byte("event: endpoint\ndata: /messages/?session=1\n\n"))
		}
	}
	wantsToken := func(others int) http.HandlerFunc { // and has nothing else
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/mcp" {
				w.WriteHeader(others)
				return
			}
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	distant := httptest.NewTLSServer(http.HandlerFunc(page))
	t.Cleanup(distant.Close)
	for name, c := range map[string]struct {
		url      string
		code     doctor.Code
		kind     error
		evidence string
	}{
		"a web page":          {serve(t, page), doctor.CauseNoServer, handstamp.ErrInvalidConfig, "→ 200"},
		"nothing":             {serve(t, http.NotFound), doctor.CauseNoServer, handstamp.ErrInvalidConfig, "→ 404"},
		"another resource":    {serve(t, wrongResource), doctor.CauseResource, handstamp.ErrProtocol, "https://another.example/mcp"},
		"another login":       {serve(t, basic), doctor.CauseOtherLogin, handstamp.ErrProtocol, "Basic"},
		"no login at all":     {serve(t, open), doctor.CauseNoLoginNeeded, nil, "open speaks MCP 2025-11-25"},
		"a token of its own":  {serve(t, wantsToken(404)), doctor.CauseNoMetadata, handstamp.ErrRegistrationRequired, "→ 404"},
		"500 but for the MCP": {serve(t, wantsToken(500)), doctor.CauseMetadataTrouble, handstamp.ErrUnreachable, "status 500"},
		"HTTP+SSE":            {serve(t, oldTransport), doctor.CauseNoLoginNeeded, nil, "MCP 2024-11-05 (the HTTP+SSE transport)"},
		"no such name":        {"https://no-such-host.invalid/mcp", doctor.CauseDNS, handstamp.ErrUnreachable, "no-such-host.invalid"},
		"an unknown CA":       {distant.URL + "/mcp", doctor.CauseTLS, handstamp.ErrUnreachable, "signed by an authority"},
		"TLS at a plain port": {strings.Replace(serve(t, page), "http://", "https://", 1), doctor.CauseTLS, handstamp.ErrUnreachable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := doctor.Examine(t.Context(), &handstamp.Client{}, c.url, doctor.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wantCause(t, r, c.code)
			if got := r.Cause.Kind; got != c.kind && !(c.kind == handstamp.ErrUnreachable && got == handstamp.ErrServerUnreachable) {
				t.Errorf("its kind is %v, want %v", got, c.kind)
			}
			if !strings.Contains(walked(r), c.evidence) {
				t.Errorf("there is no %q in\n%s", c.evidence, walked(r))
			}
		})
	}
}

// A certificate for another name, and one that is not valid at this time.
func TestDoctorTellsWhatIsWrongWithACertificate(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	for name, c := range map[string]struct {
		config func(*tls.Config)
		want   string
	}{
		"another host": {func(c *tls.Config) { c.ServerName = "other.test" }, "for another host"},
		"expired":      {func(c *tls.Config) { c.Time = func() time.Time { return time.Now().AddDate(200, 0, 0) } }, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := x509.NewCertPool()
			pool.AddCert(server.Certificate())
			config := &tls.Config{RootCAs: pool}
			c.config(config)
			client := &handstamp.Client{BaseTransport: &http.Transport{TLSClientConfig: config}}
			r, err := doctor.Examine(t.Context(), client, server.URL+"/mcp", doctor.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wantCause(t, r, doctor.CauseTLS)
			if !strings.Contains(r.Cause.Message, c.want) {
				t.Errorf("the cause is %q", r.Cause.Message)
			}
		})
	}
}

// The client was registered by hand for a port that another program has.
func TestDoctorFindsACallbackPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := testenv.New(t, lab.Habits{})
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "by-hand", RedirectURIs: []string{"http://" + l.Addr().String() + "/callback"}})
	c := w.Session()
	c.CallbackPort = l.Addr().(*net.TCPAddr).Port
	c.Registration = &handstamp.Registration{ClientID: "by-hand", TokenEndpointAuthMethod: "none"}
	r, err := doctor.Examine(t.Context(), c, w.Lab.MCPURL(), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantCause(t, r, doctor.CausePort)
	wantReport(t, r, "--callback-port", l.Addr().String())
}

// A configured client whose secret is wrong is found without a browser.
func TestDoctorFindsAWrongSecret(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "by-hand", Secret: "right-secret-of-the-lab", Method: lab.MethodPost})
	c := w.Session()
	c.Registration = &handstamp.Registration{ClientID: "by-hand", ClientSecret: "wrong-secret-of-the-user", TokenEndpointAuthMethod: "client_secret_post"}
	r, err := doctor.Examine(t.Context(), c, w.Lab.MCPURL(), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantCause(t, r, doctor.CauseClient)
	wantReport(t, r, "login", "made-up code → 401 invalid_client")
	if strings.Contains(walked(r), "wrong-secret") {
		t.Error("the report has the secret")
	}
	c.Registration = nil
}

// onDisk returns an environment with a login in files, and the path of its record.
func onDisk(t *testing.T) (*testenv.Env, string) {
	t.Helper()
	w := testenv.NewOnDisk(t, lab.Habits{})
	return w, w.File()
}

// files returns the content of all files below a folder, but for lock files.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) == "locks" {
			return err
		}
		b, err := os.ReadFile(path)
		found[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestDoctorFindsADamagedRecordAndMovesItOnlyToFixIt(t *testing.T) {
	w, file := onDisk(t)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b[:len(b)/2], "damage"...), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Remove(file + ".prev")
	before := files(t, w.Dir)
	s := w.Open(filestore.Options{})
	c := &handstamp.Client{Store: s}
	r, err := doctor.Examine(t.Context(), c, w.Lab.MCPURL(), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantCause(t, r, doctor.CauseDamaged)
	wantReport(t, r, "doctor", file)
	after := files(t, w.Dir)
	if len(after) != len(before) || after[file] != before[file] {
		t.Error("the doctor changed the folder")
	}
	if err := r.Repair(t.Context(), c); err != nil || len(r.Fixed) != 1 {
		t.Fatalf("fixed %q: %v", r.Fixed, err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the damaged record is where it was: %v", err)
	}
	if r, err = doctor.Examine(t.Context(), c, w.Lab.MCPURL(), doctor.Options{}); err != nil {
		t.Fatal(err)
	}
	wantCause(t, r, doctor.CauseNotSignedIn)
}

func TestDoctorFindsALockedStore(t *testing.T) {
	w, _ := onDisk(t)
	w.Expire()
	holder, c := w.Open(filestore.Options{}), &handstamp.Client{Store: w.Open(filestore.Options{})}
	key, err := store.NewKey(w.Lab.MCPURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := holder.Lock(t.Context(), key, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	r, err := doctor.Examine(t.Context(), c, w.Lab.MCPURL(), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantCause(t, r, doctor.CauseLocked)
	unlock()
	if r, err = doctor.Examine(t.Context(), c, w.Lab.MCPURL(), doctor.Options{}); err != nil {
		t.Fatal(err)
	}
	wantCause(t, r, doctor.CauseRefreshDue)
}

// unusable is a store that cannot be read, as a keyring that is locked.
type unusable struct{ store.Memory }

func (*unusable) Get(context.Context, store.Key) ([]byte, store.Revision, error) {
	return nil, "", store.ErrUnusable
}

func TestDoctorNamesAStoreThatCannotBeUsed(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	r, err := doctor.Examine(t.Context(), &handstamp.Client{Store: &unusable{}}, w.Lab.MCPURL(), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantCause(t, r, doctor.CauseStore)
}

// What needs no user is mended, and nothing else: no client is registered by it.
func TestDoctorMendsWhatNeedsNoUser(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(w *testenv.Env)
		fixed   string
		then    doctor.Code
	}{
		"client forgotten": {func(w *testenv.Env) { w.Lab.ForgetClients(); w.Expire() }, "so that the next login registers", doctor.CauseExpired},
		"token expired":    {(*testenv.Env).Expire, "refreshed", doctor.CauseNone},
		"token rejected":   {func(w *testenv.Env) { w.Lab.RevokeAccessTokens(); older(w) }, "refreshed", doctor.CauseNone},
		"all is well":      {func(*testenv.Env) {}, "", doctor.CauseNone},
	} {
		t.Run(name, func(t *testing.T) {
			w := signedIn(t, lab.Habits{RegisterMethod: lab.MethodPost})
			c.happens(w)
			r := examine(t, w)
			w.Lab.Reset()
			if err := r.Repair(t.Context(), w.Session()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(r.Fixed, ", "); !strings.Contains(got, c.fixed) || c.fixed == "" && got != "" {
				t.Errorf("fixed %q, want %q", got, c.fixed)
			}
			w.WantCounts(map[string]int{"register": 0, "authorize": 0})
			wantCause(t, examine(t, w), c.then)
		})
	}
}
