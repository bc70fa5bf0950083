package handstamp_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// A login under a client other than the stored one is a new login, though the
// stored token is good.
func TestLoginAsAnotherClient(t *testing.T) {
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
		t.Errorf("signed in as %q, want the configured client", r.Status.ClientID)
	}
}

// A request that waits for a login which somebody else has asked for does not fail
// because that one calls it off.
func TestLoginCalledOffByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := memoryWorld(t, lab.NoneFirst())
		c := w.inMemory(m)
		consent := c.Prompt.Authorize
		c.Prompt.Authorize = func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
			if w.tabs.Load() == 0 {
				w.tabs.Add(1)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return consent(ctx, r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := c.Login(ctx, w.lab.MCPURL(), handstamp.LoginOptions{})
			first <- err
		}()
		synctest.Wait()
		w.wantTabs(1)
		second := make(chan error, 1)
		go func() { second <- w.call(c) }()
		synctest.Wait() // it waits for the same login
		w.wantTabs(1)
		cancel()
		if err := <-first; err != context.Canceled {
			t.Errorf("the login that was called off: %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("a request whose context is alive: %v", err)
		}
		w.wantTabs(2)
	})
}

// An authorization endpoint that answers programs with an error does not thereby end
// the login at hand.
func TestAbandonedLoginKeepsTheOld(t *testing.T) {
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

// An application that keeps the registration itself gets the redirect URI back that
// is registered, where the server compares them exactly.
func TestKeptRegistrationKeepsItsPort(t *testing.T) {
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
	d.LoginTimeout = 5 * time.Second
	if err := w.call(d); err != nil {
		t.Errorf("%v\n%s", err, w.diary())
	}
}

// A server that registers another redirect URI than it was asked for costs a new
// registration, not the login.
func TestRegisteredRedirectNobodyCanListenAt(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	rec := w.record()
	rec.Clients[0].RedirectURIs = []string{"http://127.0.0.1:7777/callback?x=1"}
	w.put(rec)
	w.lab.RevokeFamilies()
	if err := w.call(w.session()); err != nil {
		t.Error(err)
	}
}

// The secret of a configured client does not follow a server that names another
// authorization server.
func TestConfiguredSecretStaysWithItsIssuer(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	key, _ := store.NewKey(w.lab.MCPURL(), "")
	rec := &record.Record{Version: 1, Key: key, ServerURL: w.lab.MCPURL()}
	rec.AddClient(&record.Client{Issuer: "https://home.example", ID: "mine", Secret: "s3cret", Source: record.SourceConfigured, Method: "client_secret_post", MethodSource: record.MethodConfigured})
	if err := record.Put(t.Context(), w.store, rec); err != nil {
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

// An authorization server without metadata is a mistake, and not a passing trouble.
func TestIssuerWithoutMetadata(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.lab.SetFault("server_metadata", lab.Fault{Kind: lab.FaultStatus, Status: 404})
	err := w.call(w.session())
	if errors.Is(err, handstamp.ErrUnreachable) || !errors.Is(err, handstamp.ErrProtocol) {
		t.Errorf("error %v, want ErrProtocol", err)
	}
}

// What the application does wrong is not called the server's trouble.
func TestKindsOfLoginErrors(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	c := w.session()
	boom := errors.New("the window was closed")
	c.Prompt.Authorize = func(context.Context, handstamp.AuthorizationRequest) (url.Values, error) { return nil, boom }
	err := w.call(c)
	if errors.Is(err, handstamp.ErrUnreachable) || !errors.Is(err, boom) {
		t.Errorf("error %v of a hook that failed", err)
	}
	c = w.session()
	c.Registration = &handstamp.Registration{}
	if err := w.call(c); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("error %v, want ErrInvalidConfig for an empty client id", err)
	}
}
