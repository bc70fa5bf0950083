package handstamp_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// 9: lock order
func TestProbeCloseDeadlock(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3000 {
			c := &handstamp.Client{Store: w.store, LoginPolicy: handstamp.LoginNever}
			ts := c.TokenSource(context.Background(), w.lab.MCPURL())
			var wg sync.WaitGroup
			start := make(chan struct{})
			for range 4 {
				wg.Go(func() { <-start; ts.Token() })
			}
			wg.Go(func() { <-start; c.Close(context.Background()) })
			close(start)
			wg.Wait()
		}
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("deadlock")
	}
}

// 5: Login with another configured client is a no-op
func TestProbeLoginOtherClient(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "mine", Method: lab.MethodNone, RedirectURIs: []string{"http://127.0.0.1/callback"}})
	c := w.session()
	c.Registration = &handstamp.Registration{ClientID: "mine"}
	r, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Status.ClientID != "mine" {
		t.Errorf("signed in as %q, want the configured client (tabs %d, already %v)", r.Status.ClientID, w.tabs.Load(), r.Already)
	}
}

// 6/103: handler storm
func TestProbeHandlerStorm(t *testing.T) {
	w := newWorld(t, lab.Habits{GrantsEnforced: false})
	c := w.session()
	h := c.Handler(w.lab.MCPURL())
	one := func() {
		ts, err := h.TokenSource(t.Context())
		if err != nil {
			return
		}
		for range 2 {
			req, _ := http.NewRequest("POST", w.lab.MCPURL(), strings.NewReader("{}"))
			if ts != nil {
				tok, _ := ts.Token()
				tok.SetAuthHeader(req)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 401 {
				return
			}
			if h.Authorize(t.Context(), req, resp) != nil {
				return
			}
			ts, _ = h.TokenSource(t.Context())
		}
	}
	w.lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
	for range 6 {
		one()
	}
	t.Logf("tabs %d refreshes %d", w.tabs.Load(), w.lab.Counts()["token:refresh"])
	if w.tabs.Load() > 2 || w.lab.Counts()["token:refresh"] > 2 {
		t.Error("storm")
	}
}

func TestProbeHandlerStormNoRefresh(t *testing.T) {
	w := newWorld(t, lab.Habits{GrantsEnforced: true})
	c := w.session()
	w.mustCall(c)
	rec := w.record()
	rec.Grant.RefreshToken = ""
	w.store.Put(t.Context(), rec)
	h := c.Handler(w.lab.MCPURL())
	w.lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
	for range 5 {
		ts, err := h.TokenSource(t.Context())
		if err != nil {
			break
		}
		req, _ := http.NewRequest("POST", w.lab.MCPURL(), strings.NewReader("{}"))
		if ts != nil {
			tok, _ := ts.Token()
			tok.SetAuthHeader(req)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		h.Authorize(t.Context(), req, resp)
		if rec := w.record(); rec.Grant != nil {
			rec.Grant.RefreshToken = ""
			w.store.Put(t.Context(), rec)
		}
	}
	if n := w.tabs.Load(); n > 2 {
		t.Errorf("%d tabs", n)
	}
}

// LoginNever: every request rotates twice
func TestProbeRefusedTokenStorm(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	c := w.session()
	c.LoginPolicy = handstamp.LoginNever
	client := c.HTTPClient(w.lab.MCPURL())
	w.lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
	for range 5 {
		call(t.Context(), client, w.lab.MCPURL())
	}
	if n := w.lab.Counts()["token:refresh"]; n > 2 {
		t.Errorf("%d refreshes for 5 calls", n)
	}
}

// 18: abandoned login after a WAF answer to the preflight loses a good grant
func TestProbePreflightKillsGrant(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.lab.SetFault("authorize:preflight", lab.Fault{Kind: lab.FaultStatus, Status: 401, Body: "robots"})
	c := w.session()
	ctx, cancel := context.WithCancel(t.Context())
	c.Prompt.OpenURL = func(context.Context, string) error { cancel(); return nil }
	if _, err := c.Login(ctx, w.lab.MCPURL(), handstamp.LoginOptions{Force: true}); err == nil {
		t.Fatal("login worked")
	}
	w.expire()
	q := w.session()
	q.LoginPolicy = handstamp.LoginNever
	if err := w.call(q); err != nil {
		t.Errorf("the old login is lost: %v", err)
	}
}

// 19: configured client rejected ahead of expiry
func TestProbeClientRejectedAhead(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "mine", Secret: "s", Method: lab.MethodPost, RedirectURIs: []string{"http://127.0.0.1/callback"}})
	session := func() *handstamp.Client {
		c := w.session()
		c.Registration = &handstamp.Registration{ClientID: "mine", ClientSecret: "s", TokenEndpointAuthMethod: lab.MethodPost}
		c.LoginPolicy = handstamp.LoginAuto
		return c
	}
	w.mustCall(session())
	rec := w.record()
	rec.Grant.ExpiresAt = time.Now().Add(5 * time.Second)
	rec.Grant.ObtainedAt = time.Now().Add(-time.Hour)
	w.store.Put(t.Context(), rec)
	w.lab.ForgetClients()
	c := session()
	for range 3 {
		if err := w.call(c); err != nil {
			t.Errorf("call with a token that is valid: %v", err)
		}
	}
	if n := w.lab.Counts()["token:refresh"]; n > 1 {
		t.Errorf("%d refreshes", n)
	}
	tok, err := c.Token(t.Context(), w.lab.MCPURL(), handstamp.TokenOptions{})
	t.Log(tok, err)
}

func fp(id string, token store.Secret) string {
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write([]byte(token.Reveal()))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// 21: interrupted + refused early hammers
func TestProbeInterruptedHammer(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	rec := w.record()
	rec.Intent = &store.Intent{ID: "x", At: time.Now(), Fingerprint: fp("x", rec.Grant.RefreshToken)}
	w.store.Put(t.Context(), rec)
	w.lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"invalid_grant"}`})
	for range 5 {
		w.mustCall(w.session())
	}
	if n := w.lab.Counts()["token:refresh"] + w.lab.Counts()["token"]; n > 1 {
		t.Errorf("%d refreshes with a refused token", n)
	}
	rec = w.record()
	rec.Grant.ExpiresAt, rec.Retry = time.Now().Add(-time.Second), nil
	w.store.Put(t.Context(), rec)
	q := w.session()
	q.LoginPolicy = handstamp.LoginNever
	err := w.call(q)
	st, _ := q.Status(t.Context(), w.lab.MCPURL())
	if st.Refusal == nil || !st.Refusal.Interrupted {
		t.Errorf("not named: %v %+v", err, st)
	}
}

// 26: an old saved answer gives an expired token
func TestProbeOldSavedAnswer(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	rec := w.record()
	body, _ := json.Marshal(map[string]any{"access_token": "old", "token_type": "Bearer", "expires_in": 3600, "refresh_token": rec.Grant.RefreshToken.Reveal()})
	rec.Intent = &store.Intent{ID: "x", At: time.Now().Add(-2 * time.Hour), Fingerprint: fp("x", rec.Grant.RefreshToken),
		Answer: &store.Answer{Status: 200, ContentType: "application/json", ReceivedAt: time.Now().Add(-2 * time.Hour), Body: store.Secret(body)}}
	rec.Grant.ExpiresAt = time.Now().Add(-time.Minute)
	w.store.Put(t.Context(), rec)
	tok, err := w.session().Token(t.Context(), w.lab.MCPURL(), handstamp.TokenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if tok.ExpiresAt.Before(time.Now()) {
		t.Errorf("Token returned one that expired %v ago", time.Since(tok.ExpiresAt))
	}
}

// 44: CA of HTTP is not used for the authorization server
func TestProbeCustomCA(t *testing.T) {
	mux := http.NewServeMux()
	srv := httptest.NewTLSServer(mux)
	srv.Config.ErrorLog = nil
	defer srv.Close()
	asked := false
	mux.HandleFunc("/.well-known/oauth-protected-resource", func(w http.ResponseWriter, r *http.Request) { asked = true; http.NotFound(w, r) })
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) })
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	c := &handstamp.Client{HTTP: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	c.Prompt.OpenURL = func(context.Context, string) error { return errors.New("no") }
	_, err := c.Login(t.Context(), srv.URL+"/mcp", handstamp.LoginOptions{})
	if !asked {
		t.Errorf("discovery did not get through: %v", err)
	}
}

// 48: registration kept by the application, exact redirect
func TestProbeKeptRegistrationRedirect(t *testing.T) {
	h := lab.NoneFirst()
	h.RedirectExact = true
	w := newWorld(t, h)
	var r *handstamp.Registration
	c := w.session()
	c.OnRegister = keep(&r)
	w.mustCall(c)
	w.store = new(store.Memory)
	d := w.session()
	d.Registration = r
	d.LoginTimeout = 3 * time.Second
	if err := w.call(d); err != nil {
		t.Errorf("%v\n%s", err, w.diary())
	}
}

// 15: issuer without metadata
func TestProbeAbsentMetadata(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.lab.SetFault("server_metadata", lab.Fault{Kind: lab.FaultStatus, Status: 404})
	err := w.call(w.session())
	if errors.Is(err, handstamp.ErrUnreachable) || !errors.Is(err, handstamp.ErrProtocol) {
		t.Errorf("%v is unreachable=%v", err, errors.Is(err, handstamp.ErrUnreachable))
	}
}

// 13: hook errors, empty client id
func TestProbeKinds(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	c := w.session()
	boom := errors.New("the window was closed")
	c.Prompt.Authorize = func(context.Context, handstamp.AuthorizationRequest) (url.Values, error) { return nil, boom }
	err := w.call(c)
	if errors.Is(err, handstamp.ErrUnreachable) || !errors.Is(err, boom) {
		t.Errorf("hook: %v (unreachable %v)", err, errors.Is(err, handstamp.ErrUnreachable))
	}
	c = w.session()
	c.Registration = &handstamp.Registration{}
	if err := w.call(c); !errors.Is(err, handstamp.ErrUsage) {
		t.Errorf("empty id: %v", err)
	}
}

// 12: joiner of a cancelled explicit login
func TestProbeJoinerCancelled(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	c := w.session()
	opened := make(chan struct{}, 4)
	first := true
	c.Prompt.OpenURL = func(ctx context.Context, raw string) error {
		opened <- struct{}{}
		if first {
			first = false
			return nil
		}
		return w.openURL(ctx, raw)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go c.Login(ctx, w.lab.MCPURL(), handstamp.LoginOptions{})
	<-opened
	res := make(chan error)
	go func() { res <- w.call(c) }()
	time.Sleep(300 * time.Millisecond)
	cancel()
	if err := <-res; err != nil {
		t.Errorf("a request whose context is alive: %v", err)
	}
}

// 8: hanging token endpoint, file store
type hang struct{ base http.RoundTripper }

func (h hang) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestProbeHangingTokenEndpoint(t *testing.T) {
	dir := t.TempDir() + "/s"
	w := newWorld(t, lab.NoneFirst())
	fs, err := filestore.Open(filestore.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w.store = fs
	w.mustCall(w.session())
	w.expire()
	synctest.Test(t, func(t *testing.T) {
		fs, err := filestore.Open(filestore.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		c := &handstamp.Client{Store: fs, AuthHTTP: hang{}, LoginPolicy: handstamp.LoginNever}
		// the record's times are real ones; the bubble's clock is in 2000
		rec := w.record()
		rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
		rec.Grant.ObtainedAt = time.Now().Add(-time.Hour)
		if err := fs.Put(context.Background(), rec); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = c.Token(context.Background(), w.lab.MCPURL(), handstamp.TokenOptions{})
		t.Log(time.Since(start), err)
		if !errors.Is(err, handstamp.ErrUnreachable) {
			t.Errorf("kind: %v", err)
		}
		rec, _ = fs.Get(context.Background(), rec.Key)
		if rec.Retry == nil || rec.Intent == nil || !rec.Intent.Sent {
			t.Errorf("not noted: retry %v intent %+v", rec.Retry, rec.Intent)
		}
	})
}

// 84: method learned although the refresh token was spent
func TestProbeLearnedOnRefresh(t *testing.T) {
	w := newWorld(t, lab.Habits{Methods: []string{"client_secret_basic", "client_secret_post"}, EnforceMethod: lab.MethodPost, RegisterMethod: "client_secret_basic", RefreshSpentOnBadClient: true, CodeSpentOnBadClient: true, RegisterSilent: true})
	w.mustCall(w.session())
	rec := w.record()
	t.Log(rec.Clients[0].Method, rec.Clients[0].MethodSource, w.tabs.Load())
	rec.Clients[0].Method, rec.Clients[0].MethodSource = "client_secret_basic", store.MethodRequested
	w.store.Put(t.Context(), rec)
	w.expire()
	before := w.tabs.Load()
	w.mustCall(w.session())
	if n := w.tabs.Load() - before; n != 1 {
		t.Errorf("%d tabs, want 1\n%s", n, w.diary())
	}
}

// 131: stored redirect URI that cannot be listened on
func TestProbeOddRedirect(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	rec := w.record()
	rec.Clients[0].RedirectURIs = []string{"http://127.0.0.1:7777/callback?x=1"}
	w.store.Put(t.Context(), rec)
	w.lab.RevokeFamilies()
	if err := w.call(w.session()); err != nil {
		t.Error(err)
	}
}

// 23: token of another type must not be used
func TestProbeOtherType(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.expire()
	w.lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 200, ContentType: "application/json", Body: `{"access_token":"a","token_type":"DPoP","expires_in":3600}`})
	c := w.session()
	c.LoginPolicy = handstamp.LoginNever
	for i := range 2 {
		if _, err := c.Token(t.Context(), w.lab.MCPURL(), handstamp.TokenOptions{}); !errors.Is(err, handstamp.ErrProtocol) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// 32: concurrent step-ups
func TestProbeConcurrentStepUp(t *testing.T) {
	w := newWorld(t, lab.Habits{RequiredScope: "admin", ScopesSupported: []string{"read", "admin"}, ChallengeScope: "read"})
	c := w.session()
	release := make(chan struct{})
	n := 0
	c.Prompt.OpenURL = func(ctx context.Context, raw string) error {
		if n++; n > 1 {
			<-release
		}
		return w.openURL(ctx, raw)
	}
	if _, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	client := c.HTTPClient(w.lab.MCPURL())
	for range 10 {
		go func() { errs <- call(t.Context(), client, w.lab.MCPURL()) }()
	}
	time.AfterFunc(500*time.Millisecond, func() { close(release) })
	bad := 0
	var last error
	for range 10 {
		if err := <-errs; err != nil {
			bad, last = bad+1, err
		}
	}
	if bad > 0 {
		t.Errorf("%d of 10 failed: %v; tabs %d", bad, last, w.tabs.Load())
	}
}

// a configured secret must not follow a server that names another issuer
func TestProbeConfiguredElsewhere(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	key, _ := store.NewKey(w.lab.MCPURL(), "")
	rec := &store.Record{Version: 1, Key: key, ServerURL: w.lab.MCPURL()}
	rec.AddClient(&store.Client{Issuer: "https://home.example", ID: "mine", Secret: "s3cret", Source: store.SourceConfigured, Method: "client_secret_post", MethodSource: store.MethodConfigured})
	if err := w.store.Put(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	c := w.session()
	c.Registration = &handstamp.Registration{ClientID: "mine", ClientSecret: "s3cret"}
	if err := w.call(c); !errors.Is(err, handstamp.ErrProtocol) {
		t.Errorf("error %v", err)
	}
	if n := w.lab.Counts()["token:code"] + w.lab.Counts()["token"]; n != 0 || w.tabs.Load() != 0 {
		t.Errorf("%d token requests, %d tabs", n, w.tabs.Load())
	}
}

var _ = fmt.Sprint
var _ io.Reader
