package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// onlyOnAPage is a server that tells of a client that it has forgotten only to the
// user, on a page that never redirects and that no preflight is shown.
var onlyOnAPage = lab.Habits{UnknownClientStatus: 500, UnknownClientCode: "invalid_grant", RedirectExact: true}

// abandon begins a login whose tab brings no callback: the user closes it, and ends the login.
func abandon(w *testenv.Env, configure func(*handstamp.Client)) {
	w.T.Helper()
	ctx, cancel := context.WithCancel(w.T.Context())
	defer cancel()
	c := w.Session()
	if configure != nil {
		configure(c)
	}
	c.Prompt.OpenURL = func(context.Context, string) error {
		cancel()
		return nil
	}
	_, err := c.Login(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
	testenv.WantKind(w.T, err, context.Canceled)
}

// withoutCallback signs in until a tab was opened that brings no callback: on a busy machine, a login's time may
// be over before its tab opens.
func withoutCallback(w *testenv.Env, configure func(*handstamp.Client)) {
	w.T.Helper()
	for tabs, timeout := w.Tabs.Load(), time.Second; w.Tabs.Load() == tabs; timeout *= 2 {
		err := w.SignIn(func(c *handstamp.Client) {
			configure(c)
			c.LoginTimeout = timeout
		})
		testenv.WantKind(w.T, err, handstamp.ErrTimeout)
	}
}

// TestClientThatOnlyTheUserSeesGone: the login whose tab shows an error comes to
// nothing, and the next one registers again.
func TestClientThatOnlyTheUserSeesGone(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, onlyOnAPage)
	w.MustCall(w.Session())
	w.Lab.ForgetClients()
	w.Lab.RevokeFamilies()
	w.Lab.Reset()
	withoutCallback(w, func(*handstamp.Client) {})
	w.WantCounts(map[string]int{"register": 0})
	if err := w.SignIn(nil); err != nil {
		t.Fatal(err)
	}
	w.WantCounts(map[string]int{"register": 1})
	w.WantTabs(3)

	// The new client serves the logins after that.
	w.Lab.RevokeFamilies()
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"register": 1})
}

// TestAbandonedLoginIsInTheRecord: a process may be killed while the user looks at the
// page, so that the record has to say it before a browser opens; and a callback,
// whatever it brings, ends it.
func TestAbandonedLoginIsInTheRecord(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	w.MustCall(w.Session())
	id := w.Record().Grant.ClientID
	marked := func() bool { return w.Record().Client(w.Lab.Issuer(), id).NoCallback }
	if marked() {
		t.Error("the client that was registered in this login is in doubt")
	}
	w.Lab.RevokeFamilies()
	w.Lab.Reset()
	err := w.SignIn(func(c *handstamp.Client) {
		c.Prompt.OpenURL = func(ctx context.Context, rawURL string) error {
			if !marked() {
				t.Error("a browser opens before the record has it")
			}
			return deny(w, rawURL)
		}
	})
	testenv.WantKind(t, err, handstamp.ErrDenied)
	if marked() {
		t.Error("the user said no, which the server brought back")
	}
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"register": 0})
	if marked() {
		t.Error("the client has just been used")
	}
}

// deny brings the response of a user who says no.
func deny(w *testenv.Env, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	response := url.Values{"error": {"access_denied"}, "state": {u.Query().Get("state")}, "iss": {w.Lab.Issuer()}}
	go http.Get(u.Query().Get("redirect_uri") + "?" + response.Encode())
	return nil
}

// TestNewClientIsNotGone: a login that was abandoned with a client registered in it says
// nothing of that client.
func TestNewClientIsNotGone(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	abandon(w, nil)
	if err := w.SignIn(nil); err != nil {
		t.Fatal(err)
	}
	w.WantCounts(map[string]int{"register": 1})
}

// TestOldClientStaysForItsRefreshToken: a registration after an abandoned login leaves
// the login at hand with what it needs.
func TestOldClientStaysForItsRefreshToken(t *testing.T) {
	w := testenv.New(t, lab.Habits{RegisterMethod: lab.MethodPost})
	w.MustCall(w.Session())
	abandon(w, nil)
	abandon(w, nil)
	w.WantCounts(map[string]int{"register": 2})
	w.Expire()
	w.Lab.Reset()
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"token:refresh": 1, "register": 0})
}

// TestClientInDoubtIsKeptWhereNoOtherCanBeHad: where a server registers no more
// clients, the login uses the one that it has.
func TestClientInDoubtIsKeptWhereNoOtherCanBeHad(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	w.MustCall(w.Session())
	w.Lab.RevokeFamilies()
	abandon(w, nil)
	w.Lab.SetFault("register", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusForbidden})
	w.MustCall(w.Session())
}

// TestUserHasTheClientRegisteredAnew: the user sees an error on the page and reports
// it, and the login goes on with another client.
func TestUserHasTheClientRegisteredAnew(t *testing.T) {
	w := testenv.New(t, onlyOnAPage)
	var offered []bool
	withPaste := func(c *handstamp.Client) {
		shown := make(chan bool, 10)
		c.Prompt.Show = func(_ context.Context, r handstamp.AuthorizationRequest) {
			offered = append(offered, r.CanRegisterAnew)
			shown <- r.CanRegisterAnew
		}
		c.Prompt.Paste = func(ctx context.Context) (string, error) {
			if <-shown {
				return "", handstamp.ErrRegisterAnew
			}
			<-ctx.Done()
			return "", ctx.Err()
		}
	}
	if err := w.SignIn(withPaste); err != nil {
		t.Fatal(err)
	}
	w.Lab.ForgetClients()
	w.Lab.RevokeFamilies()
	if err := w.SignIn(withPaste); err != nil {
		t.Fatal(err)
	}
	w.WantCounts(map[string]int{"register": 2})
	if got := fmt.Sprint(offered); got != "[false true false]" {
		t.Errorf("offered %s", got)
	}

	// It is not taken where it would change nothing.
	w.Lab.Reset()
	first := true
	err := w.SignIn(func(c *handstamp.Client) {
		c.Registration = &handstamp.Registration{ClientID: w.Record().Grant.ClientID}
		c.Prompt.Paste = func(ctx context.Context) (string, error) {
			if first {
				first = false
				return "", handstamp.ErrRegisterAnew
			}
			<-ctx.Done()
			return "", ctx.Err()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	w.WantCounts(map[string]int{"register": 0})
}

// TestPreflightAfterARejectionWithoutReason: where the refresh was just rejected by a
// response that says nothing, every 4xx but 429 of the authorization endpoint means
// that the client is gone.
func TestPreflightAfterARejectionWithoutReason(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status    int
		rejection *record.GrantError
		gone      bool
	}{
		{403, &record.GrantError{At: time.Now(), Code: "status 401", Guessed: true}, true},
		{410, &record.GrantError{At: time.Now(), Code: "status 401", Guessed: true}, true},
		{429, &record.GrantError{At: time.Now(), Code: "status 401", Guessed: true}, false},
		{500, &record.GrantError{At: time.Now(), Code: "status 401", Guessed: true}, false},
		{403, &record.GrantError{At: time.Now(), Code: "invalid_grant"}, false},
		{403, nil, false},
		{404, nil, true},
	} {
		t.Run(fmt.Sprint(tc.status, tc.rejection != nil, tc.gone), func(t *testing.T) {
			t.Parallel()
			w := testenv.New(t, lab.Habits{UnknownClientStatus: tc.status, UnknownClientCode: "invalid_grant"})
			w.MustCall(w.Session())
			w.Lab.ForgetClients()
			rec := w.Record()
			rec.Grant.RefreshToken, rec.Grant.Rejected, rec.GrantError = "", true, tc.rejection
			w.Put(rec)
			w.Lab.Reset()
			err := w.SignIn(func(c *handstamp.Client) {
				if !tc.gone {
					c.LoginTimeout = time.Second // it shows the user an error
				}
			})
			if (err == nil) != tc.gone {
				t.Errorf("login: %v", err)
			}
			if n := w.Lab.Counts()["register"]; (n == 1) != tc.gone {
				t.Errorf("%d registrations", n)
			}
		})
	}
}

const documentURL = "https://client.example/metadata.json"

// documentWorld is a world whose server fetches the client ID metadata document, as
// often as it may.
func documentWorld(t *testing.T, h lab.Habits, good int32) (w *testenv.Env, fetched *atomic.Int32) {
	fetched = new(atomic.Int32)
	h.ClientIDMetadata = true
	server, err := lab.StartWith(h, lab.Options{Fetch: func(context.Context, string) ([]byte, error) {
		if fetched.Add(1) > good {
			return nil, errors.New("cannot be fetched")
		}
		return []byte(`{"client_id":"` + documentURL + `","redirect_uris":["http://127.0.0.1/callback"]}`), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return &testenv.Env{T: t, Lab: server, Store: new(store.Memory)}, fetched
}

// TestRejectedMetadataDocument: a server that supports client ID metadata documents and
// rejects ours gets a registration, and is not sent the document again.
func TestRejectedMetadataDocument(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int   // of the authorization endpoint for a client that it cannot know
		good   int32 // how often the document can be fetched
		tabs   int32
		shown  bool // to the user only, in a login before
	}{
		{"at the preflight", 400, 0, 1, false},
		{"at the preflight, as JSON", 422, 0, 1, false},
		{"at the token endpoint", 400, 1 << 20, 2, false},
		{"shown to the user only", 500, 0, 2, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w, fetched := documentWorld(t, lab.Habits{UnknownClientStatus: tc.status}, tc.good)
			withDocument := func(c *handstamp.Client) { c.ClientMetadataURL = documentURL }
			if tc.good > 0 {
				w.Lab.SetFault("token:code", lab.Fault{Kind: lab.FaultStatus, Status: 401, Body: `{"error":"invalid_client"}`, Times: 1})
			}
			if tc.shown {
				withoutCallback(w, withDocument)
			}
			if err := w.SignIn(withDocument); err != nil {
				t.Fatalf("%v\n%s", err, w.Diary())
			}
			w.WantTabs(tc.tabs)
			w.WantCounts(map[string]int{"register": 1})
			tried := fetched.Load()

			w.Lab.Reset()
			if err := w.SignIn(withDocument); err != nil {
				t.Fatal(err)
			}
			w.WantCounts(map[string]int{"register": 0})
			if n := fetched.Load() - tried; n != 0 {
				t.Errorf("the document was sent %d times more", n)
			}
		})
	}
}

// TestMetadataDocumentIsUsed: one that the server accepts stays, also where a login with
// it was abandoned and no client can be registered.
func TestMetadataDocumentIsUsed(t *testing.T) {
	w, _ := documentWorld(t, lab.Habits{}, 1<<20)
	withDocument := func(c *handstamp.Client) { c.ClientMetadataURL = documentURL }
	for range 2 {
		if err := w.SignIn(withDocument); err != nil {
			t.Fatal(err)
		}
		w.WantCounts(map[string]int{"register": 0})
	}
	w, _ = documentWorld(t, lab.Habits{}, 1<<20)
	w.Lab.SetFault("register", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusForbidden})
	abandon(w, withDocument)
	if err := w.SignIn(withDocument); err != nil {
		t.Fatal(err)
	}
	if id := w.Record().Grant.ClientID; !strings.HasPrefix(id, "https://") {
		t.Errorf("signed in as %s", id)
	}
}

// An application that keeps the registration itself gets the redirect URI back that
// is registered, where the server compares them exactly.
func TestKeptRegistrationKeepsItsPort(t *testing.T) {
	h := lab.NoneFirst()
	h.RedirectExact = true
	w := testenv.New(t, h)
	var r *handstamp.Registration
	c := w.Session()
	c.OnRegister, c.CallbackPort = keep(&r), proctest.FreePort(t) // which is free once more for the next login
	w.MustCall(c)
	w.Store = new(store.Memory)
	d := w.Session()
	d.Registration = r
	if err := w.Call(d); err != nil {
		t.Errorf("%v\n%s", err, w.Diary())
	}
}

// A server that registers another redirect URI than the requested one costs a new
// registration, not the login.
func TestRegisteredRedirectNoUserCanListenAt(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	rec := w.Record()
	rec.Clients[0].RedirectURIs = []string{"http://127.0.0.1:7777/callback?x=1"}
	w.Put(rec)
	w.Lab.RevokeFamilies()
	if err := w.Call(w.Session()); err != nil {
		t.Error(err)
	}
}

// A client that its server has rejected is not refreshed with.
func TestRejectedClientIsNotRefreshedWith(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Expire()
	rec := w.Record()
	rec.Clients[0].Rejected = true
	w.Put(rec)
	w.Lab.Reset()
	c := w.Session()
	c.LoginPolicy = handstamp.LoginNever
	testenv.WantKind(t, w.Call(c), handstamp.ErrLoginRequired)
	w.WantCounts(map[string]int{"token:refresh": 0})
}

// namedURI runs a login that needs a client which a user registers by hand, and
// returns the redirect URI that it names.
func namedURI(w *testenv.Env) string {
	w.T.Helper()
	err := w.SignIn(nil)
	testenv.WantKind(w.T, err, handstamp.ErrRegistrationRequired)
	var known *handstamp.Error
	if !errors.As(err, &known) || known.RedirectURI == "" {
		w.T.Fatalf("no redirect URI is named: %v", err)
	}
	return known.RedirectURI
}

// TestNamedPortIsKept: the error names a redirect URI for the user to register, and
// the next login, in whichever process, uses it.
func TestNamedPortIsKept(t *testing.T) {
	for name, h := range map[string]lab.Habits{
		"no registration":       {NoRegistration: true, RedirectExact: true},
		"registration rejected": {ClosedRegistration: lab.RegistrationAllowlist, RedirectExact: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, h)
			uri := namedURI(w)
			if again := namedURI(w); again != uri {
				t.Errorf("named %s, and then %s", uri, again)
			}
			st, err := w.Session().Status(context.Background(), w.Lab.MCPURL())
			if err != nil || st.ManualRegistration == nil || st.ManualRegistration.RedirectURI != uri || st.ManualRegistration.Issuer != w.Lab.Issuer() {
				t.Errorf("status: %+v, %v", st.ManualRegistration, err)
			}
			w.Lab.RegisterClient(lab.ConfiguredClient{ID: "by-hand", Method: lab.MethodNone, RedirectURIs: []string{uri}})
			byHand := func(c *handstamp.Client) { c.Registration = &handstamp.Registration{ClientID: "by-hand"} }
			for range 2 {
				if err := w.SignIn(byHand); err != nil {
					t.Fatalf("%v\n%s", err, w.Diary())
				}
			}
			if st, err := w.Session().Status(context.Background(), w.Lab.MCPURL()); err != nil || st.ManualRegistration != nil {
				t.Errorf("status after the login: %+v, %v", st.ManualRegistration, err)
			}
		})
	}
}

// TestNamedPortIsTaken: the client that was registered with it cannot come back
// elsewhere, while a user who has registered none yet is named another.
func TestNamedPortIsTaken(t *testing.T) {
	w := testenv.New(t, lab.Habits{NoRegistration: true, RedirectExact: true})
	uri := namedURI(w)
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = w.SignIn(func(c *handstamp.Client) { c.Registration = &handstamp.Registration{ClientID: "by-hand"} })
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
	if another := namedURI(w); another == uri {
		t.Error("a port that is taken is named")
	}
}

// TestPortIsKeptWhileNoUserWasAsked checks that a login which registers its client
// again does not give its port back in between: another process could take it,
// and the login would end. A connection to the port tells.
func TestPortIsKeptWhileNoUserWasAsked(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "forgot-client-page"))
	w.MustCall(w.Session())
	w.Lab.RevokeFamilies()
	w.Lab.ForgetClients()
	c, line := w.Recorded()
	c.Prompt = handstamp.Prompt{OpenURL: w.OpenURL}
	var visitor net.Conn
	line.OnResponse(func(r *http.Request, _ *http.Response) {
		switch r.URL.Path {
		case "/authorize": // the look before the browser opens
			u, err := url.Parse(r.URL.Query().Get("redirect_uri"))
			if err != nil {
				t.Error(err)
				return
			}
			if visitor, err = net.Dial("tcp", u.Host); err != nil {
				t.Error(err)
			}
		case "/register":
			visitor.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := visitor.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the port was given back: %v", err)
			}
			visitor.Close()
		}
	})
	w.MustCall(c)
	w.WantTabs(2)
	if visitor == nil {
		t.Error("the listener was not checked before the browser opened")
	}
}
