package handstamp_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A login under a client other than the stored one is a new login, though the
// stored token is good.
func TestLoginAsAnotherClient(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "mine", Method: lab.MethodNone, RedirectURIs: []string{"http://127.0.0.1/callback"}})
	c := w.Session()
	c.Registration = &handstamp.Registration{ClientID: "mine"}
	r, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Status.ClientID != "mine" {
		t.Errorf("signed in as %q, want the configured client", r.Status.ClientID)
	}
}

// A request that waits for a login which another caller has started does not fail
// because that one calls it off.
func TestLoginCalledOffByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := testenv.NewInMemory(t, lab.NoneFirst())
		c := w.Session()
		consent := c.Prompt.Authorize
		c.Prompt.Authorize = func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
			if w.Tabs.Load() == 0 {
				w.Tabs.Add(1)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return consent(ctx, r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := c.Login(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{})
			first <- err
		}()
		synctest.Wait()
		w.WantTabs(1)
		second := make(chan error, 1)
		go func() { second <- w.Call(c) }()
		synctest.Wait() // it waits for the same login
		w.WantTabs(1)
		cancel()
		if err := <-first; err != context.Canceled {
			t.Errorf("the login that was called off: %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("a request whose context is alive: %v", err)
		}
		w.WantTabs(2)
	})
}

// An authorization endpoint that responds to programs with an error does not thereby end
// the login at hand.
func TestAbandonedLoginKeepsTheOld(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Lab.SetFault("authorize:preflight", lab.Fault{Kind: lab.FaultStatus, Status: 401, Body: "robots"})
	c := w.Session()
	ctx, cancel := context.WithCancel(t.Context())
	c.Prompt.OpenURL = func(context.Context, string) error { cancel(); return nil }
	if _, err := c.Login(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{Force: true}); err == nil {
		t.Fatal("login worked")
	}
	w.Expire()
	q := w.Session()
	q.LoginPolicy = handstamp.LoginNever
	if err := w.Call(q); err != nil {
		t.Errorf("the old login is lost: %v", err)
	}
}

// TestLoginForWhatIsConfigured: a user who asks for another scope or resource than the
// stored login was requested for signs in again, once; the same again is stored already.
func TestLoginForWhatIsConfigured(t *testing.T) {
	for name, configure := range map[string]func(c *handstamp.Client, w *testenv.Env){
		"a scope":                func(c *handstamp.Client, _ *testenv.Env) { c.Scopes = []string{"other"} },
		"a resource":             func(c *handstamp.Client, w *testenv.Env) { c.Resource = strings.TrimSuffix(w.Lab.MCPURL(), "/mcp") },
		"no resource":            func(c *handstamp.Client, _ *testenv.Env) { c.OmitResource = true },
		"a scope of the request": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{ScopesSupported: []string{"tools", "other"}, ChallengeScope: "tools", ResourceName: lab.NameOrigin})
			first := w.Session()
			first.OmitResource = name == "a resource"
			w.MustCall(first)
			tabs := int32(2)
			if configure == nil {
				configure, tabs = func(c *handstamp.Client, _ *testenv.Env) { c.Scopes = []string{"tools"} }, 1
			}
			for i := range 2 {
				c := w.Session()
				configure(c, w)
				result, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
				if err != nil {
					t.Fatalf("login: %v\n%s", err, w.Diary())
				}
				if i == 1 && !result.Already {
					t.Error("the second of two equal logins did not use the first")
				}
			}
			w.WantTabs(tabs)
		})
	}
}

// watching returns a session and the authorization requests that its browser was
// opened with.
func watching(w *testenv.Env) (*handstamp.Client, *[]url.Values) {
	c, opened := w.Session(), new([]url.Values)
	c.Prompt.OpenURL = func(ctx context.Context, rawURL string) error {
		u, err := url.Parse(rawURL)
		if err != nil {
			return err
		}
		*opened = append(*opened, u.Query())
		return w.OpenURL(ctx, rawURL)
	}
	return c, opened
}

// A method that cannot be known otherwise is probed before the user signs in.
func TestMethodIsProbedBeforeTheUserSignsIn(t *testing.T) {
	w := testenv.New(t, lab.Habits{Methods: []string{lab.MethodBasic, lab.MethodPost}})
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "s", Method: lab.MethodPost})
	c := w.Session()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: "s"}
	before := -1
	c.Prompt.OpenURL = func(ctx context.Context, rawURL string) error {
		before = w.Lab.Counts()["token:code"]
		return w.OpenURL(ctx, rawURL)
	}
	w.MustCall(c)
	if before != 3 { // basic, basic with the id in the form, post
		t.Errorf("%d token requests before the browser opened, want one for each form", before)
	}
	w.WantCounts(map[string]int{"token:code": 4})
	w.WantTabs(1)
}

// A user's login that joins one which requests have begun, and which is held back, begins by itself.
func TestLoginJoinsOneThatIsHeldBack(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		time.Sleep(time.Minute) // in the bubble: a rejection of its token is then believed at once
		rec := w.Record()
		for range 3 {
			rec.AutomaticLogins = append(rec.AutomaticLogins, record.AutomaticLogin{At: time.Now(), Issuer: rec.Grant.Issuer})
		}
		w.Put(rec)
		w.Lab.RevokeFamilies()
		c, line := w.Recorded()
		discovered := make(chan struct{})
		line.OnResponse(func(req *http.Request, _ *http.Response) {
			if strings.Contains(req.URL.Path, testenv.AtServer) {
				<-discovered
			}
		})
		called, ended := make(chan error, 1), make(chan error, 1)
		go func() { called <- w.Call(c) }()
		synctest.Wait() // for its login to be in the middle of its discovery
		go func() {
			_, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
			ended <- err
		}()
		synctest.Wait()
		close(discovered)
		testenv.WantKind(t, <-called, handstamp.ErrLoginRequired)
		if err := <-ended; err != nil {
			t.Errorf("the login ended with %v", err)
		}
		w.WantTabs(2)
	})
}
