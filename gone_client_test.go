package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// onlyOnAPage is a server that tells of a client that it has forgotten only to the
// user, on a page that never redirects and that no preflight is shown.
var onlyOnAPage = lab.Habits{UnknownClientStatus: 500, UnknownClientCode: "invalid_grant", RedirectExact: true}

// signIn signs in, whatever is stored, with a user who waits for a moment only.
func (w *world) signIn(configure func(*handstamp.Client)) error {
	c := w.session()
	c.LoginTimeout = 2 * time.Second
	if configure != nil {
		configure(c)
	}
	_, err := c.Login(context.Background(), w.lab.MCPURL(), handstamp.LoginOptions{Force: true})
	return err
}

// abandon begins a login whose tab is closed at once.
func (w *world) abandon() {
	w.t.Helper()
	err := w.signIn(func(c *handstamp.Client) {
		c.LoginTimeout = 200 * time.Millisecond
		c.Prompt.OpenURL = func(context.Context, string) error { return nil }
	})
	wantKind(w.t, err, handstamp.ErrTimeout)
}

// TestClientThatOnlyTheUserSeesGone: the login whose tab shows an error comes to
// nothing, and the next one registers anew.
func TestClientThatOnlyTheUserSeesGone(t *testing.T) {
	w := newWorld(t, onlyOnAPage)
	w.mustCall(w.session())
	w.lab.ForgetClients()
	w.lab.RevokeFamilies()
	w.lab.Reset()
	wantKind(t, w.signIn(nil), handstamp.ErrTimeout)
	w.wantCounts(map[string]int{"register": 0})
	if err := w.signIn(nil); err != nil {
		t.Fatal(err)
	}
	w.wantCounts(map[string]int{"register": 1})
	w.wantTabs(3)

	// The new client serves the logins after that.
	w.lab.RevokeFamilies()
	w.mustCall(w.session())
	w.wantCounts(map[string]int{"register": 1})
}

// TestAbandonedLoginIsInTheRecord: a process may be killed while the user looks at the
// page, so that the record has to say it before a browser opens; and a callback,
// whatever it brings, ends it.
func TestAbandonedLoginIsInTheRecord(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	w.mustCall(w.session())
	id := w.record().Grant.ClientID
	marked := func() bool { return w.record().Client(w.lab.Issuer(), id).NoCallback }
	if marked() {
		t.Error("the client that was registered in this login is in doubt")
	}
	w.lab.RevokeFamilies()
	w.lab.Reset()
	err := w.signIn(func(c *handstamp.Client) {
		c.Prompt.OpenURL = func(ctx context.Context, rawURL string) error {
			if !marked() {
				t.Error("a browser opens before the record says so")
			}
			return w.deny(rawURL)
		}
	})
	wantKind(t, err, handstamp.ErrDenied)
	if marked() {
		t.Error("the user said no, which the server brought back")
	}
	w.mustCall(w.session())
	w.wantCounts(map[string]int{"register": 0})
	if marked() {
		t.Error("the client has just been used")
	}
}

// deny brings the answer of a user who says no.
func (w *world) deny(rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	answer := url.Values{"error": {"access_denied"}, "state": {u.Query().Get("state")}, "iss": {w.lab.Issuer()}}
	go http.Get(u.Query().Get("redirect_uri") + "?" + answer.Encode())
	return nil
}

// TestNewClientIsNotGone: a login that was abandoned with a client registered in it says
// nothing of that client.
func TestNewClientIsNotGone(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	w.abandon()
	if err := w.signIn(nil); err != nil {
		t.Fatal(err)
	}
	w.wantCounts(map[string]int{"register": 1})
}

// TestOldClientStaysForItsRefreshToken: a registration after an abandoned login leaves
// the login at hand with what it needs.
func TestOldClientStaysForItsRefreshToken(t *testing.T) {
	w := newWorld(t, lab.Habits{RegisterMethod: lab.MethodPost})
	w.mustCall(w.session())
	w.abandon()
	w.abandon()
	w.wantCounts(map[string]int{"register": 2})
	w.expire()
	w.lab.Reset()
	w.mustCall(w.session())
	w.wantCounts(map[string]int{"token:refresh": 1, "register": 0})
}

// TestClientInDoubtIsKeptWhereNoOtherCanBeHad: a server that registers nobody any more
// is tried with what there is.
func TestClientInDoubtIsKeptWhereNoOtherCanBeHad(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	w.mustCall(w.session())
	w.lab.RevokeFamilies()
	w.abandon()
	w.lab.SetFault("register", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusForbidden})
	w.mustCall(w.session())
}

// TestUserHasTheClientRegisteredAnew: a user who sees an error on the page says so, and
// the login goes on with another client.
func TestUserHasTheClientRegisteredAnew(t *testing.T) {
	w := newWorld(t, onlyOnAPage)
	var offered []bool
	withPaste := func(c *handstamp.Client) {
		c.LoginTimeout = 20 * time.Second
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
	if err := w.signIn(withPaste); err != nil {
		t.Fatal(err)
	}
	w.lab.ForgetClients()
	w.lab.RevokeFamilies()
	if err := w.signIn(withPaste); err != nil {
		t.Fatal(err)
	}
	w.wantCounts(map[string]int{"register": 2})
	if got := fmt.Sprint(offered); got != "[false true false]" {
		t.Errorf("offered %s", got)
	}

	// It is not taken where it would change nothing.
	w.lab.Reset()
	first := true
	err := w.signIn(func(c *handstamp.Client) {
		c.Registration = &handstamp.Registration{ClientID: w.record().Grant.ClientID}
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
	w.wantCounts(map[string]int{"register": 0})
}

// TestPreflightAfterARejectionWithoutReason: where the refresh was just rejected by a
// response that says nothing, every 4xx but 429 of the authorization endpoint means
// that the client is gone.
func TestPreflightAfterARejectionWithoutReason(t *testing.T) {
	for _, tc := range []struct {
		status  int
		refusal *record.GrantError
		gone    bool
	}{
		{403, &record.GrantError{At: time.Now(), Code: "status 401", Guessed: true}, true},
		{410, &record.GrantError{At: time.Now(), Code: "status 401", Guessed: true}, true},
		{429, &record.GrantError{At: time.Now(), Code: "status 401", Guessed: true}, false},
		{500, &record.GrantError{At: time.Now(), Code: "status 401", Guessed: true}, false},
		{403, &record.GrantError{At: time.Now(), Code: "invalid_grant"}, false},
		{403, nil, false},
		{404, nil, true},
	} {
		t.Run(fmt.Sprint(tc.status, tc.refusal != nil, tc.gone), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.Habits{UnknownClientStatus: tc.status, UnknownClientCode: "invalid_grant"})
			w.mustCall(w.session())
			w.lab.ForgetClients()
			rec := w.record()
			rec.Grant.RefreshToken, rec.Grant.Rejected, rec.GrantError = "", true, tc.refusal
			w.put(rec)
			w.lab.Reset()
			err := w.signIn(func(c *handstamp.Client) { c.LoginTimeout = time.Second })
			if (err == nil) != tc.gone {
				t.Errorf("login: %v", err)
			}
			if n := w.lab.Counts()["register"]; (n == 1) != tc.gone {
				t.Errorf("%d registrations", n)
			}
		})
	}
}

const documentURL = "https://client.example/metadata.json"

// documentWorld is a world whose server fetches the client ID metadata document, as
// often as it may.
func documentWorld(t *testing.T, h lab.Habits, good int32) (w *world, fetched *atomic.Int32) {
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
	return &world{t: t, lab: server, store: new(store.Memory)}, fetched
}

// TestRejectedMetadataDocument: a server that supports client ID metadata documents and
// rejects ours gets a registration, and is not sent the document again.
func TestRejectedMetadataDocument(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int   // of the authorization endpoint for a client that it cannot know
		good   int32 // how often the document can be fetched
		tabs   int32
		first  error // of the first login
	}{
		{"at the preflight", 400, 0, 1, nil},
		{"at the preflight, as JSON", 422, 0, 1, nil},
		{"at the token endpoint", 400, 1 << 20, 2, nil},
		{"shown to the user only", 500, 0, 2, handstamp.ErrTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w, fetched := documentWorld(t, lab.Habits{UnknownClientStatus: tc.status}, tc.good)
			withDocument := func(c *handstamp.Client) { c.ClientMetadataURL = documentURL }
			if tc.good > 0 {
				w.lab.SetFault("token:code", lab.Fault{Kind: lab.FaultStatus, Status: 401, Body: `{"error":"invalid_client"}`, Times: 1})
			}
			err := w.signIn(withDocument)
			if tc.first != nil {
				wantKind(t, err, tc.first)
				err = w.signIn(withDocument)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, w.diary())
			}
			w.wantTabs(tc.tabs)
			w.wantCounts(map[string]int{"register": 1})
			tried := fetched.Load()

			w.lab.Reset()
			if err := w.signIn(withDocument); err != nil {
				t.Fatal(err)
			}
			w.wantCounts(map[string]int{"register": 0})
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
		if err := w.signIn(withDocument); err != nil {
			t.Fatal(err)
		}
		w.wantCounts(map[string]int{"register": 0})
	}
	w, _ = documentWorld(t, lab.Habits{}, 1<<20)
	w.lab.SetFault("register", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusForbidden})
	err := w.signIn(func(c *handstamp.Client) {
		withDocument(c)
		c.LoginTimeout = 200 * time.Millisecond
		c.Prompt.OpenURL = func(context.Context, string) error { return nil }
	})
	wantKind(t, err, handstamp.ErrTimeout)
	if err := w.signIn(withDocument); err != nil {
		t.Fatal(err)
	}
	if id := w.record().Grant.ClientID; !strings.HasPrefix(id, "https://") {
		t.Errorf("signed in as %s", id)
	}
}
