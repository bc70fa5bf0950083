package handstamp_test

import (
	"context"
	"errors"
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
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

const stepRedirect = "http://127.0.0.1:9/callback"

// steps returns a Client of an application that receives callbacks itself: each call is a replica.
func steps(w *testenv.Env) *handstamp.Client {
	c := w.Session()
	c.Prompt = handstamp.Prompt{Authorize: func(context.Context, handstamp.AuthorizationRequest) (url.Values, error) {
		return nil, errors.New("a login in steps called the prompt")
	}}
	c.RedirectURI = stepRedirect
	return c
}

// signInByStep carries a login out, each step on another replica.
func signInByStep(w *testenv.Env, o handstamp.LoginOptions) (*handstamp.LoginResult, error) {
	step, err := steps(w).BeginLogin(w.T.Context(), w.Lab.MCPURL(), o)
	for err == nil && step.Result == nil {
		response, noResponse := w.Consent(w.T.Context(), step.Request)
		if noResponse != nil { // as of a prompt
			return nil, &handstamp.Error{Kind: handstamp.ErrLoginRequired, Err: noResponse}
		}
		step, err = steps(w).CompleteLogin(w.T.Context(), step.Suspended, response)
	}
	if err != nil {
		return nil, err
	}
	return step.Result, nil
}

// A login that begins on one replica and is completed on another comes to what a login with a
// prompt comes to, at every server of the lab.
func TestStepsEndAsLoginsDo(t *testing.T) {
	t.Parallel()
	for _, p := range lab.Personalities() {
		if p.Setup != nil || p.Habits.MTLS != (lab.MTLS{}) || p.Forged {
			continue // a configuration is needed, or a listener
		}
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			testenv.InBubble(t, p.Habits, func(t *testing.T, waiting *testenv.Env) {
				stepwise, _ := testenv.NewInMemory(t, p.Habits)
				c := waiting.Session()
				c.RedirectURI = stepRedirect
				want, wantErr := c.Login(t.Context(), waiting.Lab.MCPURL(), handstamp.LoginOptions{})
				got, gotErr := signInByStep(stepwise, handstamp.LoginOptions{})
				if kindName(gotErr) != kindName(wantErr) {
					t.Fatalf("in steps: %v; with a prompt: %v", gotErr, wantErr)
				}
				if wantErr != nil {
					return
				}
				g, w := got.Status, want.Status
				if g.State != w.State || g.Scope != w.Scope || g.Method != w.Method || g.DPoP != w.DPoP || g.PAR != w.PAR ||
					g.ClientSource != w.ClientSource || (got.Rejected == nil) != (want.Rejected == nil) {
					t.Errorf("in steps: %+v, %v; with a prompt: %+v, %v", g, got.Rejected, w, want.Rejected)
				}
			})
		})
	}
}

// kindName returns the kind of an error of the library.
func kindName(err error) string {
	for _, kind := range []error{
		handstamp.ErrDenied, handstamp.ErrProtocol, handstamp.ErrInvalidConfig, handstamp.ErrClientRejected,
		handstamp.ErrRegistrationRequired, handstamp.ErrUnreachable, handstamp.ErrNoLoginNeeded,
		handstamp.ErrLoginRequired, handstamp.ErrTimeout,
	} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	if err != nil {
		return "another error"
	}
	return ""
}

// A stored login that works is no reason to send the user anywhere, unless it lacks a scope.
func TestStepsForMoreScope(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	if _, err := signInByStep(w, handstamp.LoginOptions{Scopes: []string{"mcp:read"}}); err != nil {
		t.Fatal(err)
	}
	again, err := steps(w).BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Scopes: []string{"mcp:read"}})
	if err != nil || again.Result == nil || !again.Result.Already {
		t.Fatalf("a second login: %+v, %v", again, err)
	}
	more, err := steps(w).BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Scopes: []string{"mcp:write"}})
	if err != nil || more.Result != nil {
		t.Fatalf("a login for more scope: %+v, %v", more, err)
	}
	if s := " " + more.Request.Scope + " "; !strings.Contains(s, " mcp:read ") || !strings.Contains(s, " mcp:write ") {
		t.Errorf("the scope is %q", more.Request.Scope)
	}
}

// Where the user has configured another issuer than the metadata's, each response of a login in steps
// has to name the metadata's, also that of a request which follows a rejected one.
func TestStepsAtConfiguredServer(t *testing.T) {
	testenv.InBubble(t, lab.Habits{
		MetadataIssuer: "https://tenant.idp.example", Resource: lab.ResourceRejected,
	}, func(t *testing.T, w *testenv.Env) {
		replica := func() *handstamp.Client {
			c := steps(w)
			c.AuthorizationServer = &handstamp.AuthorizationServer{Issuer: w.Lab.URL()}
			return c
		}
		step, err := replica().BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
		for err == nil && step.Result == nil {
			var response url.Values
			if response, err = w.Consent(t.Context(), step.Request); err == nil {
				step, err = replica().CompleteLogin(t.Context(), step.Suspended, response)
			}
		}
		if err != nil || step.Result.Rejected != nil {
			t.Errorf("%+v, %v\n%s", step, err, w.Diary())
		}
		w.WantTabs(2)
	})
}

// What the user does with the response is checked against what was stored of the request.
func TestStepsCheckTheResponse(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	begin := func() (*handstamp.LoginStep, url.Values) {
		step, err := steps(w).BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
		if err != nil {
			t.Fatal(err)
		}
		response, err := lab.Consent(t.Context(), step.Request.URL)
		if err != nil {
			t.Fatal(err)
		}
		return step, response
	}
	for name, change := range map[string]func(url.Values){
		"another issuer": func(v url.Values) { v.Set("iss", "https://other.example") },
		"another state":  func(v url.Values) { v.Set("state", "x") },
		"no code":        func(v url.Values) { v.Del("code") },
	} {
		step, response := begin()
		change(response)
		_, err := steps(w).CompleteLogin(t.Context(), step.Suspended, response)
		if !errors.Is(err, handstamp.ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
	step, response := begin()
	response.Del("code")
	response.Set("error", "access_denied")
	_, err := steps(w).CompleteLogin(t.Context(), step.Suspended, response)
	var e *handstamp.Error
	if !errors.Is(err, handstamp.ErrDenied) || !errors.As(err, &e) || e.Code != "access_denied" {
		t.Errorf("denied: %v", err)
	}
	other := steps(w)
	other.Profile = "other"
	if _, err := other.CompleteLogin(t.Context(), step.Suspended, response); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("another profile: %v", err)
	}
}

// Clients that share a ClientStore have one registration, however many of them sign in at once, and
// it is replaced for all once the server has forgotten it.
func TestSharedRegistration(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	shared := new(store.Memory)
	user := func() *handstamp.Client {
		c := steps(w)
		c.Store, c.ClientStore = new(store.Memory), shared
		return c
	}
	const users = 8
	signIn := func() (clients map[string]bool) {
		t.Helper()
		clients = make(map[string]bool)
		var mu sync.Mutex
		var all sync.WaitGroup
		for range users {
			all.Go(func() {
				c := user()
				step, err := c.BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
				for err == nil && step.Result == nil {
					var response url.Values
					if response, err = lab.Consent(t.Context(), step.Request.URL); err == nil {
						step, err = c.CompleteLogin(t.Context(), step.Suspended, response)
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				clients[step.Result.Status.ClientID] = true
				mu.Unlock()
			})
		}
		all.Wait()
		return clients
	}
	first := signIn()
	if n := w.Lab.Counts()["register"]; n != 1 || len(first) != 1 {
		t.Fatalf("%d registrations, clients %v", n, first)
	}
	w.Lab.ForgetClients()
	second := signIn()
	if n := w.Lab.Counts()["register"]; n != 2 || len(second) != 1 {
		t.Errorf("%d registrations after the server forgot the first, clients %v", n, second)
	}
	for id := range first {
		if second[id] {
			t.Error("the forgotten client is still used")
		}
	}
}

// When the secret of a shared client has ended, the server issues a new one, once for all users: no
// login ends by that, whether a refresh or a new user's login finds out.
func TestSharedSecretIsReplaced(t *testing.T) {
	for _, byLogin := range []bool{false, true} {
		testenv.InBubble(t, managed(true), func(t *testing.T, w *testenv.Env) {
			shared := new(store.Memory)
			newUser := func() *handstamp.Client {
				c := w.Session()
				c.Store, c.ClientStore = new(store.Memory), shared
				return c
			}
			users := []*handstamp.Client{newUser(), newUser(), newUser()}
			for _, c := range users {
				w.MustLogin(c)
			}
			tabs := int32(len(users))
			for n := range 3 {
				time.Sleep(2 * time.Hour) // in the bubble
				if byLogin {
					w.MustLogin(newUser())
					tabs++
				}
				for _, c := range users {
					w.MustCall(c)
				}
				w.WantTabs(tabs)
				w.WantCounts(map[string]int{"register": 1, "registration": n + 1})
			}
		})
	}
}

// Where the server issues no new secret for a shared client, a login is required, and it registers
// another client.
func TestSharedSecretThatEnds(t *testing.T) {
	for _, fault := range []bool{false, true} {
		habits := managed(false)
		habits.ManageClients = fault
		testenv.InBubble(t, habits, func(t *testing.T, w *testenv.Env) {
			shared := new(store.Memory)
			c, other := w.Session(), w.Session()
			for _, c := range []*handstamp.Client{c, other} {
				c.Store, c.ClientStore = new(store.Memory), shared
				w.MustLogin(c)
			}
			time.Sleep(2 * time.Hour)
			if fault {
				w.Lab.SetFault("registration", lab.Fault{Kind: lab.FaultStatus, Status: 403})
			}
			for _, c := range []*handstamp.Client{c, other} {
				c.LoginPolicy = handstamp.LoginNever
				if err := w.Call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
					t.Errorf("%v, want ErrLoginRequired", err)
				}
			}
			w.MustLogin(other)
			w.MustCall(other)
			if n := w.Lab.Counts()["register"]; n != 2 {
				t.Errorf("%d registrations", n)
			}
		})
	}
}

// Close ends a step that waits for the login of another process.
func TestStepThatWaitsEndsWithClose(t *testing.T) {
	testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
		step, err := steps(w).BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
		if err != nil {
			t.Fatal(err)
		}
		key, err := store.NewKey(w.Lab.MCPURL(), "")
		if err != nil {
			t.Fatal(err)
		}
		unlock, err := w.Store.Lock(t.Context(), key, store.LockLogin)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		for name, waits := range map[string]func(*handstamp.Client) error{
			"begin": func(c *handstamp.Client) error {
				_, err := c.BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
				return err
			},
			"complete": func(c *handstamp.Client) error {
				_, err := c.CompleteLogin(t.Context(), step.Suspended, url.Values{"code": {"x"}})
				return err
			},
		} {
			c, ended := steps(w), make(chan error, 1)
			go func() { ended <- waits(c) }()
			synctest.Wait()
			began := time.Now()
			if err := c.Close(t.Context()); err != nil || time.Since(began) > time.Second {
				t.Errorf("%s: closed with %v after %v", name, err, time.Since(began))
			}
			testenv.WantKind(t, <-ended, handstamp.ErrClosed)
		}
	})
}

// A step that waits for the login of another process shows nothing on the machine of the application.
func TestStepThatWaitsShowsNothing(t *testing.T) {
	testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		rec := w.Record()
		rec.PendingLogin = &record.PendingLogin{At: time.Now(), URL: secret.String(w.Lab.Issuer() + "/authorize")}
		w.Put(rec)
		unlock, err := w.Store.Lock(t.Context(), rec.Key, store.LockLogin)
		if err != nil {
			t.Fatal(err)
		}
		c, ended := steps(w), make(chan error, 1)
		c.Prompt.Waiting = func(context.Context, handstamp.AuthorizationRequest) { t.Error("the wait is shown") }
		c.Prompt.OpenURL = func(context.Context, string) error {
			t.Error("a browser is opened")
			return nil
		}
		go func() {
			_, err := c.BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
			ended <- err
		}()
		time.Sleep(time.Minute) // in the bubble
		unlock()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
