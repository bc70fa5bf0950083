package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// The response carries no refresh token, scope or id token: the old ones stay.
func TestResponseWithoutRefreshToken(t *testing.T) {
	w := testenv.New(t, lab.Habits{Rotation: lab.RotateNone})
	w.MustCall(w.Session())
	for range 3 {
		before := w.Record()
		w.Expire()
		w.MustCall(w.Session())
		if after := w.Record(); after.Grant.RefreshToken != before.Grant.RefreshToken || after.Grant.ScopeGranted != before.Grant.ScopeGranted {
			t.Fatal("the refresh token or scope was lost")
		}
	}
	w.WantTabs(1)
}

// A client that is rejected when the token is refreshed ahead of time: the token goes on
// being used, and the next request to the server waits.
func TestClientRejectedAheadOfTime(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "mine", Secret: "s", Method: lab.MethodPost, RedirectURIs: []string{"http://127.0.0.1/callback"}})
	session := func() *handstamp.Client {
		c := w.Session()
		c.Registration = &handstamp.Registration{ClientID: "mine", ClientSecret: "s", TokenEndpointAuthMethod: lab.MethodPost}
		c.LoginPolicy = handstamp.LoginAuto
		return c
	}
	w.MustCall(session())
	w.AboutToExpire()
	w.Lab.ForgetClients()
	c := session()
	for range 3 {
		if err := w.Call(c); err != nil {
			t.Errorf("call with a token that is valid: %v", err)
		}
	}
	if n := w.Lab.Counts()["token:refresh"]; n > 1 {
		t.Errorf("%d refreshes", n)
	}
}

// A server that uses the refresh token on a failed authentication: the method that
// was right all the same is known to the login that follows.
func TestMethodLearnedFromRejectedGrant(t *testing.T) {
	w := testenv.New(t, lab.Habits{Methods: []string{"client_secret_basic", "client_secret_post"}, EnforceMethod: lab.MethodPost, RegisterMethod: "client_secret_basic", RefreshUsedOnBadClient: true, CodeUsedOnBadClient: true, RegisterSilent: true})
	w.MustCall(w.Session())
	rec := w.Record()
	rec.Clients[0].Method, rec.Clients[0].MethodSource = "client_secret_basic", record.MethodRequested
	w.Put(rec)
	w.Expire()
	before := w.Tabs.Load()
	w.MustCall(w.Session())
	if n := w.Tabs.Load() - before; n != 1 {
		t.Errorf("%d tabs, want 1\n%s", n, w.Diary())
	}
}

// A token that is no bearer token is not sent as one, in the next call either.
func TestTokenOfAnotherType(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Expire()
	w.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 200, ContentType: "application/json", Body: `{"access_token":"a","token_type":"DPoP","expires_in":3600}`})
	c := w.Session()
	c.LoginPolicy = handstamp.LoginNever
	for i := range 2 {
		if _, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{}); !errors.Is(err, handstamp.ErrProtocol) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// rejectionOf is a response of the token endpoint.
func rejectionOf(status int, body string) lab.Fault {
	return lab.Fault{Kind: lab.FaultStatus, Status: status, ContentType: "application/json", Body: body}
}

// TestDeadRefreshTokenInOtherWords: in whatever form a server rejects the refresh token,
// the first session that needs it recognizes that, and one login helps.
func TestDeadRefreshTokenInOtherWords(t *testing.T) {
	t.Parallel()
	for _, fault := range []lab.Fault{
		rejectionOf(400, `{"error":"invalid_request","error_description":"refresh_token is invalid"}`),
		rejectionOf(400, `{"error":"invalid_request","error_description":"session not found"}`),
		rejectionOf(400, `{"status":"BAD_REFRESH_TOKEN"}`),
		rejectionOf(401, `{"error":"Unauthorized","message":"Invalid refresh token"}`),
		rejectionOf(400, `{"detail":{"error":"invalid_grant"}}`),
		rejectionOf(400, `{"error":{"code":"invalid_grant","message":"no"}}`),
		rejectionOf(400, `{"error":"INVALID_GRANT"}`),
		rejectionOf(403, `{"error":"access_denied"}`),
		rejectionOf(400, `{"error":"expired_token"}`),
		rejectionOf(400, `{"error":"not_allowed"}`),
		rejectionOf(404, `{"error":"invalid_grant"}`),
		// These name nothing, and are believed when they come again.
		rejectionOf(400, ``),
		rejectionOf(401, ``),
		rejectionOf(401, `{"error":"unauthorized"}`),
		rejectionOf(400, `{"message":"Bad Request"}`),
	} {
		t.Run(fmt.Sprint(fault.Status, " ", fault.Body), func(t *testing.T) {
			t.Parallel()
			testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
				w.MustCall(w.Session())
				w.Expire()
				w.Lab.SetFault("token:refresh", fault)

				c := w.Session()
				c.LoginPolicy = handstamp.LoginNever
				if err := w.Call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
					t.Fatalf("error %v, want ErrLoginRequired\n%s", err, w.Diary())
				}
				st, err := c.Status(t.Context(), w.Lab.MCPURL())
				if err != nil || st.Usable() || st.GrantError == nil {
					t.Errorf("status %+v (%v), want an unusable one with the rejection", st, err)
				}
				w.MustCall(w.Session())
				w.WantTabs(2)
			})
		})
	}
}

// TestRejectionWithoutAReasonKeepsAValidToken: as long as the access token works,
// nothing ends on a guess.
func TestRejectionWithoutAReasonKeepsAValidToken(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.AboutToExpire()
	w.Lab.SetFault("token:refresh", rejectionOf(401, ``))
	for range 3 {
		w.MustCall(w.Session())
	}
	w.WantTabs(1)
	if w.Record().Grant.RefreshToken == "" || w.Record().GrantError != nil {
		t.Error("the grant was given up")
	}
}

// TestRejectionByAPolicyNeedsThree: a 403, 409 or 422 that gives no reason may be
// a firewall's, so it is believed only when it has come three times, half a
// minute apart; until then no browser opens.
func TestRejectionByAPolicyNeedsThree(t *testing.T) {
	t.Parallel()
	for _, status := range []int{403, 409, 422} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := testenv.New(t, lab.NoneFirst())
			w.MustCall(w.Session())
			w.Expire()
			w.Lab.SetFault("token:refresh", rejectionOf(status, ``))
			for i := range 2 {
				for range 3 { // at once: they count as one
					if err := w.Call(w.Session()); !errors.Is(err, handstamp.ErrUnreachable) {
						t.Fatalf("rejection %d: error %v, want ErrUnreachable", i+1, err)
					}
				}
				w.WantCounts(map[string]int{"token:refresh": i + 1})
				later(w, 31*time.Second)
			}
			c := w.Session()
			c.LoginPolicy = handstamp.LoginNever
			if err := w.Call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
				t.Fatalf("the third rejection: error %v, want ErrLoginRequired\n%s", err, w.Diary())
			}
			if w.Record().Grant.RefreshToken == "" {
				t.Error("the refresh token was thrown away on a guess")
			}
			w.MustCall(w.Session())
			w.WantTabs(2)
			if r := w.Record(); r.GrantError != nil || r.Rejection != nil {
				t.Error("the new login remembers the old one's rejections")
			}
		})
	}
}

// TestRejectionCountedUnderAnotherClock: a clock that was set back neither floods the
// server nor keeps the rejection from being believed.
func TestRejectionCountedUnderAnotherClock(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		w.MustCall(w.Session())
		w.Expire()
		w.Lab.SetFault("token:refresh", rejectionOf(403, ``))
		if err := w.Call(w.Session()); !errors.Is(err, handstamp.ErrUnreachable) {
			t.Fatalf("error %v, want ErrUnreachable", err)
		}
		r := w.Record()
		r.Rejection.At = r.Rejection.At.Add(time.Hour)
		r.Rejection.Reason, r.Retry = "401", nil
		w.Put(r)
		w.Lab.SetFault("token:refresh", rejectionOf(401, ``))
		c := w.Session()
		c.LoginPolicy = handstamp.LoginNever
		if err := w.Call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
			t.Errorf("error %v, want ErrLoginRequired", err)
		}
		if n := w.Lab.Counts()["token:refresh"]; n > 3 {
			t.Errorf("%d requests, want at most 3\n%s", n, w.Diary())
		}
	})
}

// later moves what the record remembers of rejections into the past.
func later(w *testenv.Env, d time.Duration) {
	w.T.Helper()
	r := w.Record()
	if r.Rejection != nil {
		r.Rejection.At = r.Rejection.At.Add(-d)
	}
	if r.Retry != nil {
		r.Retry.NotBefore = r.Retry.NotBefore.Add(-d)
	}
	for i := range r.Cooldowns {
		r.Cooldowns[i].First = r.Cooldowns[i].First.Add(-d)
		r.Cooldowns[i].Until = r.Cooldowns[i].Until.Add(-d)
	}
	if err := record.Put(w.T.Context(), w.Store, r); err != nil {
		w.T.Fatal(err)
	}
}

// lostLocks is a store whose locks end while their holders live, as those of a lease do.
type lostLocks struct{ store.Store }

func (lostLocks) Lock(context.Context, store.Key, store.LockName) (func(), error) {
	return func() {}, nil
}

// slowPut is a store whose next Put waits.
type slowPut struct {
	store.Store
	once    sync.Once
	arrived chan struct{}
	goOn    chan struct{}
}

func (s *slowPut) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	s.once.Do(func() {
		close(s.arrived)
		<-s.goOn
	})
	return s.Store.Put(ctx, key, value, revision)
}

// A process that finds out that its lock was lost before it has sent anything leaves the refresh to
// the one that has the lock.
func TestLockIsLostBeforeTheRequest(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, lab.Habits{Rotation: lab.RotateStrict})
	locks := w.Store
	w.MustCall(w.Session())
	w.Expire()
	w.Lab.Reset()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	token := func(c *handstamp.Client) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := c.Token(ctx, w.Lab.MCPURL(), handstamp.TokenOptions{})
			done <- err
		}()
		return done
	}
	first := w.Session()
	slow := &slowPut{Store: lostLocks{locks}, arrived: make(chan struct{}), goOn: make(chan struct{})}
	first.Store = &relocking{slow, locks, new(atomic.Int32)}
	firstDone := token(first)
	<-slow.arrived // before it has marked the refresh
	gate := w.Lab.Hold("token:refresh:committed")
	defer gate.Release()
	secondDone := token(w.Session()) // with the lock
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	close(slow.goOn)
	select {
	case err := <-firstDone:
		t.Errorf("the first process did not wait for the second: %v", err)
	case <-time.After(300 * time.Millisecond): // for a request that must not come
	}
	w.WantCounts(map[string]int{"token:refresh": 1})
	gate.Release()
	for _, done := range []<-chan error{firstDone, secondDone} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	w.WantCounts(map[string]int{"token:refresh": 1})
	if a := w.Lab.Audit(); a.Reuses != 0 {
		t.Errorf("%d reuses\n%s", a.Reuses, w.Diary())
	}
}

// relocking is a store whose first lock is lost at once; the next ones are real.
type relocking struct {
	store.Store
	locks store.Store
	taken *atomic.Int32
}

func (s *relocking) Lock(ctx context.Context, key store.Key, name store.LockName) (func(), error) {
	if s.taken.Add(1) == 1 {
		return func() {}, nil
	}
	return s.locks.Lock(ctx, key, name)
}

// A refresh ahead that is rejected because the user has signed out meanwhile is no panic.
func TestLogoutBesideARefreshAhead(t *testing.T) {
	w := testenv.New(t, lab.Habits{Rotation: lab.RotateStrict})
	w.MustCall(w.Session())
	w.AboutToExpire()
	w.Lab.Reset()
	gate := w.Lab.Hold("token:refresh:received")
	defer gate.Release()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	ended := make(chan handstamp.RefreshEvent, 1)
	c := w.Session()
	c.LoginPolicy = handstamp.LoginNever
	c.Hooks.Refreshed = func(e handstamp.RefreshEvent) { ended <- e }
	done := make(chan error, 1)
	go func() {
		_, err := c.Token(ctx, w.Lab.MCPURL(), handstamp.TokenOptions{MinTTL: time.Minute})
		done <- err
	}()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Session().Logout(ctx, w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
		t.Fatal(err)
	}
	gate.Release()
	testenv.WantKind(t, <-done, handstamp.ErrLoginRequired)
	select {
	case <-ended:
	case <-ctx.Done():
		t.Error("the end of the refresh is not reported")
	}
}

// A process that has lost its lock stores the new refresh token after another one has repeated its
// request: the server took that for reuse and ended the grant, which the next refresh finds out.
// That loss, too, is named.
func TestRefreshBesideALostLockIsNamed(t *testing.T) {
	w := testenv.New(t, lab.Habits{Rotation: lab.RotateStrict})
	w.Store = lostLocks{w.Store}
	w.MustCall(w.Session())
	w.AboutToExpire()
	w.Lab.Reset()
	responded, goOn := make(chan struct{}), make(chan struct{})
	late := w.Session()
	late.AuthTransport = testenv.RoundTripFunc(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		close(responded)
		<-goOn
		return resp, err
	})
	first := make(chan error, 1)
	go func() {
		_, err := late.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{MinTTL: time.Minute})
		first <- err
	}()
	<-responded
	// Its access token is still good by the clock, whatever became of the refresh.
	if _, err := w.Session().Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := w.Lab.Audit().Reuses; n != 1 {
		t.Fatalf("%d reuses, want 1\n%s", n, w.Diary())
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	w.Expire()
	c := w.Session()
	c.LoginPolicy = handstamp.LoginNever
	_, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
	testenv.WantKind(t, err, handstamp.ErrLoginRequired)
	status, err := c.Status(t.Context(), w.Lab.MCPURL())
	if err != nil || status.GrantError == nil || !status.GrantError.Interrupted {
		t.Errorf("the loss is not named: %+v, %v\n%s", status.GrantError, err, w.Diary())
	}
}

// A process whose lock was lost is rejected, because another one was faster with the same refresh
// token. The response to that one is what counts: where the server keeps the grant, so does the
// store, and where it ends it, the loss is named.
func TestRejectedBesideALostLock(t *testing.T) {
	for rotation, kept := range map[string]bool{lab.RotateStrictKeep: true, lab.RotateStrict: false} {
		t.Run(rotation, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{Rotation: rotation})
			w.Store = lostLocks{w.Store}
			w.MustCall(w.Session())
			w.Expire()
			token := func(c *handstamp.Client) <-chan error {
				done := make(chan error, 1)
				go func() {
					c.LoginPolicy = handstamp.LoginNever
					_, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
					done <- err
				}()
				return done
			}
			slow, sending, send := w.Session(), make(chan struct{}), make(chan struct{})
			slow.AuthTransport = testenv.RoundTripFunc(func(r *http.Request) (*http.Response, error) {
				close(sending)
				<-send
				return http.DefaultTransport.RoundTrip(r)
			})
			fast, responded, read := w.Session(), make(chan struct{}), make(chan struct{})
			fast.AuthTransport = testenv.RoundTripFunc(func(r *http.Request) (*http.Response, error) {
				resp, err := http.DefaultTransport.RoundTrip(r)
				close(responded)
				<-read
				return resp, err
			})
			slowDone := token(slow)
			<-sending
			fastDone := token(fast)
			<-responded
			close(send)
			testenv.WantKind(t, <-slowDone, handstamp.ErrLoginRequired)
			testenv.WantKind(t, <-token(w.Session()), handstamp.ErrLoginRequired)
			w.WantCounts(map[string]int{"token:refresh": 2})
			close(read)
			if err := <-fastDone; err != nil {
				t.Errorf("the faster one: %v", err)
			}
			w.Expire()
			err := <-token(w.Session())
			if kept {
				if err != nil {
					t.Errorf("the refresh that follows: %v\n%s", err, w.Diary())
				}
				return
			}
			testenv.WantKind(t, err, handstamp.ErrLoginRequired)
			status, err := w.Session().Status(t.Context(), w.Lab.MCPURL())
			if err != nil || status.GrantError == nil || !status.GrantError.Interrupted {
				t.Errorf("the loss is not named: %+v, %v\n%s", status.GrantError, err, w.Diary())
			}
		})
	}
}
