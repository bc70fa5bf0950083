package handstamp_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// workplace is a company with its identity provider and MCP servers that trust it.
type workplace struct {
	t       *testing.T
	company *lab.Server
	servers []*testenv.Env // with one store
}

func newWorkplace(t *testing.T, servers int) *workplace {
	t.Helper()
	provider := testenv.New(t, lab.Habits{
		OpenID: true, Grants: []string{lab.GrantTokenExchange}, NoRegistration: true, OmitPKCE: true,
		Methods: []string{lab.MethodBasic},
	})
	w := &workplace{t: t, company: provider.Lab}
	w.company.SetAccount("ana@company.example")
	w.company.RegisterClient(lab.ConfiguredClient{ID: "at-company", Secret: "s%+ company"})
	for range servers {
		env := testenv.New(t, lab.Habits{Grants: []string{lab.GrantJWTBearer}, NoRegistration: true})
		env.Store = provider.Store
		env.Lab.RegisterClient(lab.ConfiguredClient{ID: "at-server", Secret: "s%+ server"})
		env.Lab.TrustIssuer(w.company.Issuer(), w.company.JWKS())
		w.company.AllowExchange(env.Lab.Issuer(), "at-server")
		w.servers = append(w.servers, env)
	}
	return w
}

// session is a session as it is configured for the first login.
func (w *workplace) session(at int) *handstamp.Client {
	c := w.servers[at].Session()
	c.Grant = handstamp.Enterprise{Issuer: w.company.Issuer(), ClientID: "at-company", ClientSecret: "s%+ company"}
	c.Registration = &handstamp.Registration{ClientID: "at-server", ClientSecret: "s%+ server"}
	return c
}

// stored is a later session, which knows no more than the store, and no user is there.
func (w *workplace) stored(at int) *handstamp.Client {
	c := w.servers[at].Session()
	c.LoginPolicy = handstamp.LoginNever
	return c
}

// employed is a workplace after the first login at its first server.
func employed(t *testing.T, servers int) *workplace {
	t.Helper()
	w := newWorkplace(t, servers)
	w.servers[0].MustCall(w.session(0))
	w.reset()
	return w
}

func (w *workplace) reset() {
	w.company.Reset()
	for _, env := range w.servers {
		env.Lab.Reset()
		env.Tabs.Store(0)
	}
}

// expire has the clocks of the company and of the servers go on.
func (w *workplace) expire(d time.Duration) {
	w.company.Advance(d)
	for _, env := range w.servers {
		env.Lab.Advance(d)
		if env.Record().Grant != nil {
			env.Expire()
		}
	}
}

// want checks the requests at the company.
func (w *workplace) want(counts map[string]int) {
	w.t.Helper()
	got := w.company.Counts()
	for endpoint, n := range counts {
		if got[endpoint] != n {
			w.t.Errorf("%d requests to the company's %s, want %d\n%v", got[endpoint], endpoint, n, w.company.Requests())
		}
	}
}

func (w *workplace) companyRecord() *record.Record {
	w.t.Helper()
	key, err := store.NewKey(w.company.Issuer(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	rec, err := record.Get(w.t.Context(), w.servers[0].Store, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// One login at the company serves every server, and later sessions go through the chain without a
// user, with what is in the store.
func TestEnterpriseOneLoginServesEveryServer(t *testing.T) {
	w := newWorkplace(t, 3)
	for at, env := range w.servers {
		env.MustCall(w.session(at))
		env.WantCounts(map[string]int{"token:jwt_bearer": 1, "authorize": 0})
	}
	tabs := int32(0)
	for _, env := range w.servers {
		tabs += env.Tabs.Load()
	}
	if tabs != 1 {
		t.Errorf("%d tabs, want 1", tabs)
	}
	w.want(map[string]int{"token:code": 1, "token:exchange": 3})
	w.reset()
	for at, env := range w.servers {
		env.MustCall(w.stored(at))
		env.WantCounts(map[string]int{"mcp": 1, "as": 0, "token": 0})
		env.Expire()
		env.MustCall(w.stored(at))
		env.WantCounts(map[string]int{"token:jwt_bearer": 1})
		env.Lab.RevokeAccessTokens()
		env.MustCall(w.stored(at))
		env.WantCounts(map[string]int{"token:jwt_bearer": 2})
		env.WantTabs(0)
		if n := env.Lab.Audit().AssertionReuses; n != 0 {
			t.Errorf("%d grants were used twice", n)
		}
	}
	w.want(map[string]int{"token:code": 0, "token:refresh": 0, "token:exchange": 6, "server_metadata": 0})
	status, err := w.stored(0).Status(t.Context(), w.servers[0].Lab.MCPURL())
	if err != nil || status.Enterprise != w.company.Issuer() || status.Account != "ana@company.example" {
		t.Errorf("status %+v, %v", status, err)
	}
}

// Each piece of the login at the company ends in its own time.
func TestEnterpriseAfterExpiry(t *testing.T) {
	t.Run("the id token", func(t *testing.T) {
		w := employed(t, 1)
		w.expire(90 * time.Minute)
		w.servers[0].MustCall(w.stored(0))
		w.want(map[string]int{"token:refresh": 1, "token:code": 0})
		w.servers[0].WantTabs(0)
		w.reset()
		w.servers[0].Expire()
		w.servers[0].MustCall(w.stored(0))
		w.want(map[string]int{"token:refresh": 0, "token:exchange": 1})
	})
	t.Run("the id token, and a refresh brings none", func(t *testing.T) {
		w := employed(t, 1)
		w.expire(90 * time.Minute)
		c := w.stored(0)
		c.AuthTransport = changing{grant: "refresh_token", change: func(resp *http.Response) (*http.Response, error) {
			return replaceMember(resp, "id_token", "null")
		}}
		w.servers[0].MustCall(c)
		var types []string
		for _, r := range w.company.Requests() {
			if kind := r.Params.Get("subject_token_type"); kind != "" {
				types = append(types, kind)
			}
		}
		if len(types) == 0 || types[len(types)-1] != handstamp.TokenTypeRefreshToken {
			t.Errorf("subject tokens %q", types)
		}
		w.servers[0].WantTabs(0)
	})
	t.Run("the login", func(t *testing.T) {
		w := employed(t, 1)
		w.expire(90 * time.Minute)
		w.company.RevokeFamilies()
		err := w.servers[0].Call(w.stored(0))
		testenv.WantKind(t, err, handstamp.ErrLoginRequired)
		if err == nil || !strings.Contains(err.Error(), w.company.Issuer()) {
			t.Errorf("%v does not name the company's issuer", err)
		}
		w.servers[0].WantTabs(0)
		again := w.stored(0)
		again.LoginPolicy = handstamp.LoginAuto
		w.servers[0].MustCall(again)
		w.servers[0].WantTabs(1)
		w.want(map[string]int{"token:code": 1})
	})
}

// What was never signed in needs the user, and says where.
func TestEnterpriseNeedsTheUserAtTheCompanyOnly(t *testing.T) {
	w := newWorkplace(t, 1)
	c := w.session(0)
	c.LoginPolicy = handstamp.LoginNever
	err := w.servers[0].Call(c)
	testenv.WantKind(t, err, handstamp.ErrLoginRequired)
	if err == nil || !strings.Contains(err.Error(), "a login at the company's identity provider "+w.company.Issuer()+" is required") {
		t.Errorf("%v", err)
	}
	w.servers[0].WantTabs(0)
	result, err := c.Login(t.Context(), w.servers[0].Lab.MCPURL(), handstamp.LoginOptions{})
	if err != nil || result.Rejected != nil {
		t.Fatalf("%+v, %v", result, err)
	}
	w.servers[0].WantTabs(1)
}

// Many sessions at two servers make one login and one chain for each server.
func TestEnterpriseManySessions(t *testing.T) {
	w := newWorkplace(t, 2)
	var running sync.WaitGroup
	for n := range 20 {
		running.Go(func() {
			if err := w.servers[n%2].Call(w.session(n % 2)); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	w.want(map[string]int{"token:code": 1, "token:exchange": 2})
	for _, env := range w.servers {
		env.WantCounts(map[string]int{"token:jwt_bearer": 1})
	}
	if tabs := w.servers[0].Tabs.Load() + w.servers[1].Tabs.Load(); tabs != 1 {
		t.Errorf("%d tabs, want 1", tabs)
	}
}

// An application that has signed the user in itself hands the id token over: no login at the
// company, no look at its keys.
func TestEnterpriseWithIDTokenOfTheApplication(t *testing.T) {
	other := employed(t, 1)
	token := other.companyRecord().Grant.IDToken
	env := other.servers[0]
	env.Store = new(store.Memory)
	session := func() *handstamp.Client {
		c := other.session(0)
		c.LoginPolicy = handstamp.LoginNever
		grant := c.Grant.(handstamp.Enterprise)
		grant.IDToken = func(context.Context, handstamp.GrantTarget) (secret.String, error) { return token, nil }
		c.Grant = grant
		return c
	}
	env.MustCall(session())
	other.want(map[string]int{"authorize": 0, "token:code": 0, "token:exchange": 1, "jwks": 0})
	other.company.Advance(2 * time.Hour)
	env.Expire()
	err := env.Call(session())
	testenv.WantKind(t, err, handstamp.ErrDenied)
	if err == nil || !strings.Contains(err.Error(), "issued no grant") || !strings.Contains(err.Error(), "new id token") {
		t.Errorf("%v", err)
	}
	other.want(map[string]int{"token:exchange": 2})
}

// An id token that has expired by this machine's clock is not tried: the login at the company is
// refreshed first.
func TestEnterpriseRefreshesAnExpiredIDTokenFirst(t *testing.T) {
	w := employed(t, 1)
	rec := w.companyRecord()
	p := newPlatform(t, lab.Habits{})
	rec.Grant.IDToken = secret.String(p.token("at-company", time.Now().Add(-time.Hour)))
	w.servers[0].Put(rec)
	w.servers[0].Expire()
	w.servers[0].MustCall(w.stored(0))
	w.want(map[string]int{"token:refresh": 1, "token:exchange": 1})
	w.servers[0].WantTabs(0)
}

// The id token has to be that of the login that was begun.
func TestEnterpriseIDTokenOfAnotherLogin(t *testing.T) {
	w := newWorkplace(t, 1)
	c := w.session(0)
	c.Prompt = handstamp.Prompt{OpenURL: func(ctx context.Context, rawURL string) error {
		u, err := url.Parse(rawURL)
		if err != nil {
			return err
		}
		query := u.Query()
		if query.Get("nonce") == "" {
			t.Error("the authorization request has no nonce")
		}
		query.Set("nonce", "another")
		u.RawQuery = query.Encode()
		return w.servers[0].OpenURL(ctx, u.String())
	}}
	_, err := c.Login(t.Context(), w.servers[0].Lab.MCPURL(), handstamp.LoginOptions{})
	testenv.WantKind(t, err, handstamp.ErrProtocol)
	if err == nil || !strings.Contains(err.Error(), "nonce of another login") {
		t.Errorf("%v", err)
	}
}

// A user who denies the login at the company, or leaves it, does not see the browser again with the next request.
func TestEnterpriseDeniedAtTheCompany(t *testing.T) {
	w := newWorkplace(t, 1)
	c := w.session(0)
	tabs := 0
	c.Prompt = handstamp.Prompt{Authorize: func(_ context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
		tabs++
		return url.Values{"error": {"access_denied"}, "state": {r.State}, "iss": {r.Issuer}}, nil
	}}
	for range 3 {
		err := w.servers[0].Call(c)
		testenv.WantKind(t, err, handstamp.ErrDenied)
		if err == nil || !strings.Contains(err.Error(), "the company's identity provider "+w.company.Issuer()) {
			t.Errorf("%v", err)
		}
	}
	if tabs != 1 {
		t.Errorf("%d tabs, want 1", tabs)
	}
}

// Keys and bound tokens go through the chain as elsewhere.
func TestEnterpriseWithKeysAndBoundTokens(t *testing.T) {
	key, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	provider := testenv.New(t, lab.Habits{
		OpenID: true, Grants: []string{lab.GrantTokenExchange}, NoRegistration: true, Methods: []string{lab.MethodPrivateKeyJWT},
	})
	provider.Lab.RegisterClient(lab.ConfiguredClient{ID: "at-company", JWKS: string(key.JWKS())})
	env := testenv.New(t, lab.Habits{
		Grants: []string{lab.GrantJWTBearer}, NoRegistration: true, Methods: []string{lab.MethodPrivateKeyJWT},
		DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ServerNonce: 2, ResourceNonce: 2},
	})
	env.Store = provider.Store
	env.Lab.RegisterClient(lab.ConfiguredClient{ID: "at-server", JWKS: string(key.JWKS())})
	env.Lab.TrustIssuer(provider.Lab.Issuer(), provider.Lab.JWKS())
	provider.Lab.AllowExchange(env.Lab.Issuer(), "at-server")
	session := func() *handstamp.Client {
		c := env.Session()
		c.Grant = handstamp.Enterprise{Issuer: provider.Lab.Issuer(), ClientID: "at-company", Key: key}
		c.Registration, c.Key = &handstamp.Registration{ClientID: "at-server"}, key
		return c
	}
	for range 3 {
		env.MustCall(session())
		env.Expire()
	}
	env.WantTabs(1)
	for who, audit := range map[string]lab.Audit{"company": provider.Lab.Audit(), "server": env.Lab.Audit()} {
		if audit.AssertionReuses != 0 || audit.ProofReuses != 0 || audit.Downgrades != 0 {
			t.Errorf("%s: %+v", who, audit)
		}
	}
	if env.Lab.Audit().Proofs == 0 {
		t.Error("no proofs")
	}
}

// While the company's provider fails, everything is kept, and no browser opens.
func TestEnterpriseProviderFails(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"token:exchange", "token:refresh"} {
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			w := employed(t, 1)
			w.company.SetFault(endpoint, lab.Fault{Kind: lab.FaultStatus, Status: 503})
			w.expire(90 * time.Minute)
			err := w.servers[0].Call(w.stored(0))
			testenv.WantKind(t, err, handstamp.ErrUnreachable)
			if err == nil || !strings.Contains(err.Error(), w.company.Issuer()) {
				t.Error(err)
			}
			w.company.SetFault(endpoint)
			w.servers[0].WantTabs(0)
			_, err = w.stored(0).Login(t.Context(), w.servers[0].Lab.MCPURL(), handstamp.LoginOptions{})
			if err != nil {
				t.Error(err)
			}
			w.servers[0].WantTabs(0)
		})
	}
}

// Signing out at the company ends its login for all servers.
func TestEnterpriseLogoutAtTheCompany(t *testing.T) {
	w := employed(t, 2)
	w.servers[1].MustCall(w.session(1))
	result, err := w.stored(0).Logout(t.Context(), w.company.Issuer(), handstamp.LogoutOptions{})
	if err != nil || !result.Revoked {
		t.Fatalf("%+v, %v", result, err)
	}
	for at, env := range w.servers {
		env.MustCall(w.stored(at)) // its access token is good for as long as it says
		env.Expire()
		testenv.WantKind(t, env.Call(w.stored(at)), handstamp.ErrLoginRequired)
		env.WantTabs(0)
	}
}

// A login through another company is not the one that is configured.
func TestEnterpriseAtAnotherCompany(t *testing.T) {
	w := employed(t, 1)
	other := newWorkplace(t, 0)
	env := w.servers[0]
	env.Lab.TrustIssuer(other.company.Issuer(), other.company.JWKS())
	other.company.AllowExchange(env.Lab.Issuer(), "at-server")
	c := w.session(0)
	c.Grant = handstamp.Enterprise{Issuer: other.company.Issuer(), ClientID: "at-company", ClientSecret: "s%+ company"}
	result, err := c.Login(t.Context(), env.Lab.MCPURL(), handstamp.LoginOptions{})
	if err != nil || result.Already || result.Status.Enterprise != other.company.Issuer() {
		t.Errorf("%+v, %v", result, err)
	}
	env.WantTabs(1)
}

// Close ends a login that waits at the company.
func TestEnterpriseClose(t *testing.T) {
	w := newWorkplace(t, 1)
	c := w.session(0)
	waiting := make(chan struct{})
	c.Prompt = handstamp.Prompt{Authorize: func(ctx context.Context, _ handstamp.AuthorizationRequest) (url.Values, error) {
		close(waiting)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	failed := make(chan error, 1)
	go func() { failed <- w.servers[0].Call(c) }()
	<-waiting
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	testenv.WantKind(t, <-failed, handstamp.ErrClosed)
}

// A request that opens no browser may begin a login through the company. Whoever joins that, and may
// open one, signs in all the same.
func TestEnterpriseLoginBesideOneWithoutABrowser(t *testing.T) {
	for name, join := range map[string]func(*testenv.Env, *handstamp.Client) error{
		"a request": (*testenv.Env).Call, "a login": (*testenv.Env).Login,
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, lab.Habits{ // the company's provider is the server's, too
				OpenID: true, NoRegistration: true, Grants: []string{lab.GrantTokenExchange, lab.GrantJWTBearer},
			}, func(t *testing.T, w *testenv.Env) {
				for _, id := range []string{"at-company", "at-server"} {
					w.Lab.RegisterClient(lab.ConfiguredClient{ID: id, Secret: "s"})
				}
				w.Lab.TrustIssuer(w.Lab.Issuer(), w.Lab.JWKS())
				w.Lab.AllowExchange(w.Lab.Issuer(), "at-server")
				c := w.Session()
				c.Grant = handstamp.Enterprise{Issuer: w.Lab.Issuer(), ClientID: "at-company", ClientSecret: "s"}
				c.Registration = &handstamp.Registration{ClientID: "at-server", ClientSecret: "s"}
				gate := w.Lab.Hold("resource_metadata:received")
				defer gate.Release()
				begun, joined := make(chan error, 1), make(chan error, 1)
				go func() {
					ctx := handstamp.WithoutLogin(t.Context())
					begun <- testenv.Call(ctx, c.HTTPClient(w.Lab.MCPURL()), w.Lab.MCPURL())
				}()
				synctest.Wait() // its login is at the gate
				go func() { joined <- join(w, c) }()
				synctest.Wait()
				gate.Release()
				testenv.WantKind(t, <-begun, handstamp.ErrLoginRequired)
				if err := <-joined; err != nil {
					t.Errorf("%v\n%s", err, w.Diary())
				}
				w.WantTabs(1)
			})
		})
	}
}
