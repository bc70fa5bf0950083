package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// record reads what is stored for the world's server.
func (w *world) record() *record.Record {
	w.t.Helper()
	key, err := store.NewKey(w.lab.MCPURL(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	rec, err := record.Get(context.Background(), w.store, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// expire makes the stored access token expired by the clock.
func (w *world) expire() {
	w.t.Helper()
	rec := w.record()
	rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
	if err := record.Put(context.Background(), w.store, rec); err != nil {
		w.t.Fatal(err)
	}
}

// age is how an access token stops being usable.
var age = map[string]func(*world){
	"expired":       (*world).expire,
	"refused early": func(w *world) { w.lab.RevokeAccessTokens() },
}

func TestManyGoroutinesOneRefresh(t *testing.T) {
	for name, spoil := range age {
		for _, n := range []int{20, 1000} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, lab.NoneFirst())
				w.mustCall(w.session())
				spoil(w)
				w.lab.Reset()
				gate := w.lab.Hold("token:refresh:received") // a slow token endpoint
				client := w.session().HTTPClient(w.lab.MCPURL())

				var wg sync.WaitGroup
				failures := make(chan error, n)
				for range n {
					wg.Go(func() { failures <- call(context.Background(), client, w.lab.MCPURL()) })
				}
				if _, err := gate.Wait(context.Background()); err != nil {
					t.Fatal(err)
				}
				gate.Release()
				wg.Wait()
				close(failures)
				for err := range failures {
					if err != nil {
						t.Fatal(err)
					}
				}
				w.wantCounts(map[string]int{"token:refresh": 1, "authorize": 0})
				w.wantTabs(1)
			})
		}
	}
}

// trouble is what says nothing about a login.
var trouble = map[string]lab.Fault{
	"503":               {Kind: lab.FaultStatus, Status: 503},
	"500":               {Kind: lab.FaultStatus, Status: 500, ContentType: "application/json", Body: `{"error":"server_error"}`},
	"429 Retry-After":   {Kind: lab.FaultStatus, Status: 429, RetryAfter: "20"},
	"HTML page":         {Kind: lab.FaultHTML},
	"HTML 403":          {Kind: lab.FaultHTML, Status: 403},
	"JSON, no reason":   {Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"request_id":"teapot"}`},
	"cut connection":    {Kind: lab.FaultCutBefore},
	"redirect":          {Kind: lab.FaultRedirect, Location: "http://127.0.0.1:1/"},
	"invalid_grant 503": {Kind: lab.FaultStatus, Status: 503, Body: "invalid_grant"},
}

func TestTroubleKeepsTheCredential(t *testing.T) {
	for name, fault := range trouble {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.NoneFirst())
			w.mustCall(w.session())
			w.expire()
			before := w.record()
			w.lab.SetFault("token", fault)

			c := w.session()
			err := w.call(c)
			var trouble *handstamp.Error
			if !errors.Is(err, handstamp.ErrUnreachable) || !errors.As(err, &trouble) {
				t.Fatalf("error %v, want ErrUnreachable\n%s", err, w.diary())
			}
			after := w.record()
			if after.Grant == nil || after.Grant.RefreshToken != before.Grant.RefreshToken {
				t.Error("the refresh token was not kept")
			}
			if after.Retry == nil || !after.Retry.NotBefore.After(time.Now()) {
				t.Error("no process was told to wait")
			}
			requests := w.lab.Counts()["token:refresh"]
			if err := w.call(w.session()); !errors.Is(err, handstamp.ErrUnreachable) {
				t.Errorf("another session within the wait: %v", err)
			}
			if n := w.lab.Counts()["token:refresh"]; n != requests {
				t.Errorf("asked %d more times within the wait", n-requests)
			}
			w.wantTabs(1)

			// The trouble passes, and so does the wait.
			w.lab.SetFault("token")
			rec := w.record()
			rec.Retry.NotBefore = time.Now()
			if err := record.Put(context.Background(), w.store, rec); err != nil {
				t.Fatal(err)
			}
			w.mustCall(w.session())
			w.wantTabs(1)
		})
	}
}

// A renewal ahead of time that fails does not cost the token at hand.
func TestTroubleAheadOfTime(t *testing.T) {
	w := newWorld(t, lab.Habits{AccessTokenLifetime: time.Hour})
	w.mustCall(w.session())
	rec := w.record()
	rec.Grant.ExpiresAt = time.Now().Add(20 * time.Second) // within the last tenth
	if err := record.Put(context.Background(), w.store, rec); err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]lab.Fault{
		"503":           {Kind: lab.FaultStatus, Status: 503},
		"invalid_grant": {Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"invalid_grant"}`},
	} {
		t.Run(name, func(t *testing.T) {
			rec := w.record()
			rec.Retry = nil
			if err := record.Put(context.Background(), w.store, rec); err != nil {
				t.Fatal(err)
			}
			w.lab.SetFault("token", fault)
			w.mustCall(w.session())
			if after := w.record(); after.Grant.RefreshToken != rec.Grant.RefreshToken {
				t.Error("the refresh token was not kept")
			}
		})
	}
	w.wantTabs(1)
}

func TestLostAnswer(t *testing.T) {
	for _, test := range []struct {
		rotation string
		tabs     int32
	}{
		{lab.RotateGrace, 1}, {lab.RotateSame, 1}, {lab.RotateUntilUsed, 1}, {lab.RotateNone, 1}, {lab.RotateRepeat, 1},
		{lab.RotateStrict, 2}, {lab.RotateStrictKeep, 2},
	} {
		for _, kind := range []string{lab.FaultCutAfter, lab.FaultCutBody} {
			t.Run(test.rotation+"/"+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, lab.Habits{Rotation: test.rotation, Grace: time.Minute})
				w.mustCall(w.session())
				w.expire()
				w.lab.SetFault("token", lab.Fault{Kind: kind, Times: 1})

				quiet := w.session()
				quiet.LoginPolicy = handstamp.LoginNever
				err := w.call(quiet)
				if test.tabs == 1 {
					if err != nil {
						t.Fatalf("%v\n%s", err, w.diary())
					}
					w.mustCall(w.session())
					w.wantTabs(1)
					return
				}
				// Nothing could save this login; it is named, and one clean
				// login with the same client follows.
				if kind == lab.FaultCutAfter {
					if !errors.Is(err, handstamp.ErrLoginRequired) {
						t.Fatalf("error %v, want ErrLoginRequired\n%s", err, w.diary())
					}
					status, err := quiet.Status(context.Background(), w.lab.MCPURL())
					if err != nil || status.GrantError == nil || !status.GrantError.Interrupted {
						t.Errorf("status %+v, %v: the interrupted renewal is not named", status, err)
					}
				}
				w.mustCall(w.session())
				w.wantCounts(map[string]int{"register": 1})
			})
		}
	}
}

// A caller that gives up returns at once; the refresh it started is stored.
func TestCancelledCaller(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.expire()
	before := w.record()
	gate := w.lab.Hold("token:refresh:committed")
	c := w.session()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { result <- call(ctx, c.HTTPClient(w.lab.MCPURL()), w.lab.MCPURL()) }()
	if _, err := gate.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	cancelled := time.Now()
	cancel()
	select {
	case err := <-result:
		t.Logf("the caller returned %v after it had cancelled", time.Since(cancelled))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
	case <-time.After(5 * time.Second): // 50 ms is the promise; a loaded machine gets more
		t.Fatal("a cancelled caller does not return while the refresh is under way")
	}
	gate.Release()
	if err := c.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	after := w.record()
	if after.Grant.RefreshToken == before.Grant.RefreshToken || after.Intent != nil {
		t.Error("the rotated token was not stored")
	}
	w.mustCall(w.session())
	w.wantTabs(1)
}

// Logging out while a refresh is under way leaves nothing behind, here or there.
func TestLogoutDuringRefresh(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.expire()
	gate := w.lab.Hold("token:refresh:committed")
	busy, other := w.session(), w.session()
	busy.LoginPolicy = handstamp.LoginNever
	result := make(chan error)
	go func() { result <- w.call(busy) }()
	if _, err := gate.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Logout(context.Background(), w.lab.MCPURL(), handstamp.LogoutOptions{NoRevoke: true}); err != nil {
		t.Fatal(err)
	}
	gate.Release()
	if err := <-result; !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("error %v, want ErrLoginRequired", err)
	}
	if status, err := other.Status(context.Background(), w.lab.MCPURL()); err != nil || status.State != handstamp.StateNone {
		t.Errorf("status %+v, %v after logout", status, err)
	}
	w.wantCounts(map[string]int{"revoke": 1}) // what the refresh brought
	if a := w.lab.Audit(); !a.Families[0].Revoked {
		t.Error("a token that nobody holds any more is still good")
	}
}

// The answer carries no refresh token, scope or id token: the old ones stay.
func TestAnswerWithoutRefreshToken(t *testing.T) {
	w := newWorld(t, lab.Habits{Rotation: lab.RotateNone})
	w.mustCall(w.session())
	for range 3 {
		before := w.record()
		w.expire()
		w.mustCall(w.session())
		if after := w.record(); after.Grant.RefreshToken != before.Grant.RefreshToken || after.Grant.ScopeGranted != before.Grant.ScopeGranted {
			t.Fatal("the refresh token or scope was lost")
		}
	}
	w.wantTabs(1)
}

// Unknown expiry is unknown: the token is used until it is refused.
func TestUnknownExpiry(t *testing.T) {
	for _, expires := range []string{lab.ExpiresOmitted, lab.ExpiresZero, lab.ExpiresString} {
		t.Run(expires, func(t *testing.T) {
			w := newWorld(t, lab.Habits{ExpiresIn: expires})
			w.mustCall(w.session())
			w.lab.Reset()
			w.mustCall(w.session())
			w.wantCounts(map[string]int{"mcp": 1, "token:refresh": 0})
			w.lab.RevokeAccessTokens()
			w.mustCall(w.session())
			w.wantCounts(map[string]int{"token:refresh": 1})
			w.wantTabs(1)
		})
	}
}

// A resource server that refuses even a token fresh from a login gets no storm
// of tabs.
func TestServerThatRefusesEveryToken(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	c := w.session()
	client := c.HTTPClient(w.lab.MCPURL())
	w.mustCall(c)
	for range 5 {
		w.lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
		if err := call(context.Background(), client, w.lab.MCPURL()); err == nil {
			t.Fatal("the call worked")
		}
	}
	if n := w.tabs.Load(); n > 2 {
		t.Errorf("browser opened %d times\n%s", n, w.diary())
	}
}
