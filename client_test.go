package handstamp_test

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A request that needs a login has an error of its own after Close.
func TestClosedClient(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	c := w.Session()
	if err := c.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	err := w.Call(c)
	testenv.WantKind(t, err, handstamp.ErrClosed)
	if e, ok := errtype.As[*handstamp.Error](err); !ok || e.Error() != "the client is closed" {
		t.Errorf("error %v", err)
	}
}

// Each caller of a closed Client has an error of its own, which it may change.
func TestErrorsOfAClosedClient(t *testing.T) {
	c := new(handstamp.Client)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := make(map[*handstamp.Error]bool)
	for range 2 {
		_, err := c.Login(t.Context(), "http://127.0.0.1:1/mcp", handstamp.LoginOptions{})
		e, ok := errtype.As[*handstamp.Error](err)
		if !ok || e.Kind != handstamp.ErrClosed {
			t.Fatalf("error %v", err)
		}
		seen[e] = true
	}
	if len(seen) != 2 {
		t.Error("two callers have one error")
	}
}

// A resource and the wish that none is sent contradict each other.
func TestResourceThatIsOmitted(t *testing.T) {
	c := &handstamp.Client{Resource: "https://mcp.example", OmitResource: true, LoginPolicy: handstamp.LoginNever}
	_, err := c.Status(t.Context(), "https://mcp.example/mcp")
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
}

// Close has no error where nothing is under way, however late it comes; a request of the user that is
// under way is one.
func TestCloseWithAContextThatHasEnded(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 { // a choice between two that are ready is random
			c := &handstamp.Client{Store: w.Store, LoginPolicy: handstamp.LoginNever}
			if _, err := c.Status(t.Context(), w.Lab.MCPURL()); err != nil {
				t.Fatal(err)
			}
			if err := c.Close(ended); err != nil {
				t.Fatal(err)
			}
		}
		c, asked, proceed := w.Session(), make(chan struct{}), make(chan struct{})
		c.Prompt.Authorize = func(context.Context, handstamp.AuthorizationRequest) (url.Values, error) {
			close(asked)
			<-proceed
			return nil, errors.New("no user")
		}
		failed := make(chan error, 1)
		go func() { failed <- w.Call(c) }()
		<-asked
		if err := c.Close(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("with a login under way: %v", err)
		}
		close(proceed)
		<-failed
		synctest.Wait()
		if err := c.Close(ended); err != nil {
			t.Errorf("after the login: %v", err)
		}
	})
}

// Close ends a login that waits for the user. All requests that wait for it report that, though
// their contexts have not ended.
func TestCloseEndsALogin(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		c, outcome := w.Session(), ""
		c.Prompt.Authorize = func(ctx context.Context, _ handstamp.AuthorizationRequest) (url.Values, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		c.Hooks.LoggedIn = func(e handstamp.LoginEvent) { outcome = e.Outcome }
		failed := make(chan error, 2)
		for range 2 {
			go func() { failed <- w.Call(c) }()
		}
		synctest.Wait()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for range 2 {
			testenv.WantKind(t, <-failed, handstamp.ErrClosed)
		}
		if outcome != "closed" {
			t.Errorf("the outcome is %q", outcome)
		}
	})
}

// TestDialContextCarriesAuthorizationRequests: a transport that connects in its own way
// carries the requests to the authorization server too, as Client.AuthTransport says.
func TestDialContextCarriesAuthorizationRequests(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	var mu sync.Mutex
	dialed := make(map[string]bool)
	c := w.Session()
	c.BaseTransport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		dialed[address] = true
		mu.Unlock()
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	w.MustCall(c)
	mu.Lock()
	defer mu.Unlock()
	for _, server := range []string{w.Lab.MCPURL(), w.Lab.Issuer()} {
		if host := hostOf(t, server); !dialed[host] {
			t.Errorf("%s was reached otherwise; dialed %v", host, dialed)
		}
	}
}

func hostOf(t *testing.T, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// Close and the start of work take two locks; in different orders they would wait for
// each other for ever. A busy machine takes its time for the rounds, and ends each of them.
func TestCloseDuringRefreshes(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	rounds := make(chan struct{})
	go func() {
		defer close(rounds)
		for range 2000 {
			c := &handstamp.Client{Store: w.Store, LoginPolicy: handstamp.LoginNever}
			ts := c.TokenSource(context.Background(), w.Lab.MCPURL())
			var wg sync.WaitGroup
			start := make(chan struct{})
			for range 4 {
				wg.Go(func() { <-start; ts.Token() })
			}
			wg.Go(func() { <-start; c.Close(context.Background()) })
			close(start)
			wg.Wait()
			rounds <- struct{}{}
		}
	}()
	for more := true; more; {
		select {
		case _, more = <-rounds:
		case <-time.After(testenv.Timeout):
			t.Fatal("deadlock")
		}
	}
}

// full returns a value of a struct type in which no field is zero, so that one which gets lost
// shows.
func full(t *testing.T, typ reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(typ).Elem()
	for i := range typ.NumField() {
		switch field := v.Field(i); field.Interface().(type) {
		case time.Time:
			field.Set(reflect.ValueOf(time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)))
		case []string:
			field.Set(reflect.ValueOf([]string{"http://127.0.0.1/callback"}))
		default:
			field.SetString("value of " + typ.Field(i).Name)
		}
	}
	return v
}

// An application that keeps a registration has one way to save it that works, and the others say
// so when it saves, rather than when a user has given consent in the next session.
func TestRegistrationIsKeptWhole(t *testing.T) {
	r := full(t, reflect.TypeFor[handstamp.Registration]()).Interface().(handstamp.Registration)
	data, err := r.RevealJSON()
	if err != nil {
		t.Fatal(err)
	}
	var back handstamp.Registration
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("it came back as %+v (%v) from\n%s", back, err, data)
	}
	public := handstamp.Registration{Issuer: "https://as.example", ClientID: "c"}
	if data, err = json.Marshal(public); err != nil {
		t.Errorf("a registration without secrets: %v", err)
	} else if err := json.Unmarshal(data, &back); err != nil {
		t.Errorf("%v\n%s", err, data)
	}
}

func TestSecretsAreEncodedOnlyOnRequest(t *testing.T) {
	const secret = "a-hidden-secret"
	r := handstamp.Registration{ClientID: "c", ClientSecret: secret}
	for _, holder := range []any{
		r, &r, []handstamp.Registration{r}, map[string]any{"client": r}, struct{ Client *handstamp.Registration }{&r},
		handstamp.Registration{Response: secret},
		handstamp.ImportedLogin{TokenResponse: secret}, handstamp.ImportedLogin{Registration: r},
		handstamp.Token{Value: secret},
	} {
		for name, encode := range map[string]func(io.Writer) error{
			"json": func(w io.Writer) error { return json.NewEncoder(w).Encode(holder) },
			"xml":  func(w io.Writer) error { return xml.NewEncoder(w).Encode(holder) },
			"gob":  func(w io.Writer) error { return gob.NewEncoder(w).Encode(holder) },
		} {
			var written strings.Builder
			err := encode(&written)
			if err == nil || strings.Contains(written.String(), secret) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s of %T: error %v, written %q", name, holder, err, written.String())
			}
			if name != "json" {
				continue
			}
			if !strings.Contains(err.Error(), "Reveal") {
				t.Errorf("the error does not say what to do: %v", err)
			}
		}
	}
}

// What an older program saved in place of the secret is rejected before any request.
func TestPlaceholderIsNoClientSecret(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	var saved handstamp.Registration
	err := json.Unmarshal([]byte(`{"ClientID":"c","ClientSecret":"[redacted]","TokenEndpointAuthMethod":"client_secret_post"}`), &saved)
	if err == nil {
		t.Errorf("it was read as %+v", saved)
	}
	c := w.Session()
	c.Registration = &handstamp.Registration{ClientID: "c", ClientSecret: "[redacted]", TokenEndpointAuthMethod: "client_secret_post"}
	for name, err := range map[string]error{
		"login": func() error {
			_, err := c.Login(context.Background(), w.Lab.MCPURL(), handstamp.LoginOptions{})
			return err
		}(),
		"call": w.Call(c),
		"import": func() error {
			_, err := importLogin(w, handstamp.ImportedLogin{Registration: *c.Registration, TokenResponse: `{"access_token":"a"}`}, handstamp.ImportOptions{})
			return err
		}(),
	} {
		if !errors.Is(err, handstamp.ErrInvalidConfig) || !strings.Contains(err.Error(), "RevealJSON") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	w.WantCounts(map[string]int{"mcp": 0, "authorize": 0, "token:code": 0})
}

// A secret that has ended is not tried: the client is registered again before the
// browser opens.
func TestExpiredSecretIsNotUsed(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	rec := w.Record()
	rec.Clients[0].SecretExpiresAt = time.Now().Add(-time.Minute)
	w.Put(rec)
	w.Lab.RevokeFamilies()
	w.Lab.Reset()
	c, opened := watching(w)
	w.MustCall(c)
	w.WantCounts(map[string]int{"register": 1, "token:code": 1})
	if len(*opened) != 1 || (*opened)[0].Get("client_id") == rec.Clients[0].ID {
		t.Errorf("opened %v", *opened)
	}
}

// endSecret makes the secret of the stored login end, and the access token.
func endSecret(w *testenv.Env) *record.Client {
	w.T.Helper()
	rec := w.Record()
	rec.Grant.ObtainedAt = time.Now().Add(-time.Hour)
	rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
	rec.Clients[0].SecretExpiresAt = time.Now().Add(-time.Minute)
	w.Put(rec)
	w.Lab.Reset()
	return rec.Clients[0]
}

// Nor does a refresh try it: without a browser the error has the reason, otherwise
// the user signs in with a new client.
func TestExpiredSecretIsNotRefreshedWith(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	old := endSecret(w)
	c := w.Session()
	c.LoginPolicy = handstamp.LoginNever
	err := w.Call(c)
	testenv.WantKind(t, err, handstamp.ErrLoginRequired)
	if want := "client secret expired at " + old.SecretExpiresAt.Format(time.RFC3339); !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if st, err := c.Status(t.Context(), w.Lab.MCPURL()); err != nil || st.State != handstamp.StateExpired || st.Refreshable {
		t.Errorf("status %+v, %v", st, err)
	}
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"token:refresh": 0, "register": 1, "token:code": 1})
	w.WantTabs(2)
	if now := w.Record().GrantClient(); now == nil || now.ID == old.ID {
		t.Errorf("signed in as %+v", now)
	}
}

// A good access token is used until it expires, before the user has to sign in.
func TestExpiredSecretLeavesTheToken(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	endSecret(w)
	w.AboutToExpire() // it would be refreshed ahead of time, if it could be
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"token:refresh": 0, "register": 0})
	w.WantTabs(1)
}

// A server that accepts secrets past their stated expiry costs no login.
func TestSecretThatWorksPastItsEnd(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	endSecret(w)
	rec := w.Record()
	rec.Grant.ObtainedAt = rec.Clients[0].SecretExpiresAt.Add(time.Second)
	w.Put(rec)
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"token:refresh": 1, "register": 0})
	w.WantTabs(1)
}

// A public client has no use for its secret, nor for the secret's end.
func TestPublicClientOutlivesItsSecret(t *testing.T) {
	w := testenv.New(t, lab.Habits{RegisterMethod: lab.MethodNone})
	w.MustCall(w.Session())
	endSecret(w)
	rec := w.Record()
	rec.Clients[0].Secret = "never to be sent"
	w.Put(rec)
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"token:refresh": 1, "register": 0})
}

// An application that keeps the registration gets another one in time, and goes on
// with it although it still gives back the old one.
func TestKeptRegistrationIsRefreshed(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	var r *handstamp.Registration
	first := w.Session()
	first.OnRegister = keep(&r)
	w.MustCall(first)
	endSecret(w)
	old := *r
	old.SecretExpiresAt = time.Now().Add(-time.Minute)
	c := w.Session()
	c.OnRegister, c.Registration = keep(&r), &old
	w.MustCall(c)
	w.WantCounts(map[string]int{"token:refresh": 0, "register": 1, "token:code": 1})
	if r.ClientID == old.ClientID {
		t.Error("the hook was not called with the new registration")
	}
	w.Lab.Reset()
	if result, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil || !result.Already {
		t.Errorf("login once more: %+v, %v", result, err)
	}
	w.Lab.RevokeFamilies()
	w.MustCall(c)
	w.WantCounts(map[string]int{"register": 0, "token:code": 1})
}

// A configured secret that has ended is the user's to change, and said before the
// browser opens.
func TestConfiguredSecretEnds(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "s", Method: lab.MethodPost})
	c := w.Session()
	c.Registration = &handstamp.Registration{
		ClientID: "app", ClientSecret: "s", TokenEndpointAuthMethod: "client_secret_post", SecretExpiresAt: time.Now().Add(-time.Minute),
	}
	testenv.WantKind(t, w.Call(c), handstamp.ErrClientRejected)
	w.WantTabs(0)
	d := w.Session()
	d.Registration = &handstamp.Registration{
		ClientID: "app", ClientSecret: "s", TokenEndpointAuthMethod: "client_secret_post", SecretExpiresAt: time.Now().Add(time.Hour),
	}
	w.MustCall(d)
	w.WantTabs(1)

	// The end that was stored gives way to that of the secret configured now.
	endSecret(w)
	e := w.Session()
	e.Registration = d.Registration
	w.MustCall(e)
	w.WantCounts(map[string]int{"token:refresh": 1, "register": 0})
	w.WantTabs(1)
}
