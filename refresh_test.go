package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

func TestManyGoroutinesOneRefresh(t *testing.T) {
	many := 1000
	if testing.Short() {
		many = 200
	}
	for name, spoil := range testenv.Unusable {
		for _, n := range []int{20, many} {
			t.Run(name, func(t *testing.T) {
				w := testenv.New(t, lab.NoneFirst())
				w.MustCall(w.Session())
				spoil(w)
				w.Lab.Reset()
				gate := w.Lab.Hold("token:refresh:received") // a slow token endpoint
				client := w.Session().HTTPClient(w.Lab.MCPURL())

				var wg sync.WaitGroup
				failures := make(chan error, n)
				for range n {
					wg.Go(func() { failures <- testenv.Call(context.Background(), client, w.Lab.MCPURL()) })
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
				w.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0})
				w.WantTabs(1)
			})
		}
	}
}

// A refresh ahead of time that fails does not cost the token at hand.
func TestTroubleAheadOfTime(t *testing.T) {
	for name, fault := range map[string]lab.Fault{
		"503":           {Kind: lab.FaultStatus, Status: 503},
		"invalid_grant": {Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"invalid_grant"}`},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, lab.Habits{AccessTokenLifetime: time.Hour}, func(t *testing.T, w *testenv.Env) {
				w.MustCall(w.Session())
				w.AboutToExpire()
				before := w.Record()
				w.Lab.Reset()
				w.Lab.SetFault("token", fault)
				w.MustCall(w.Session())
				if after := w.Record(); after.Grant.RefreshToken != before.Grant.RefreshToken {
					t.Error("the refresh token was not kept")
				}
				if w.Lab.Counts()["token:refresh"] == 0 {
					t.Error("no refresh was tried")
				}
				w.WantTabs(1)
			})
		})
	}
}

// readOnlyStore is a store that can be made to take no more values.
type readOnlyStore struct {
	store.Store
	full atomic.Bool
}

func (s *readOnlyStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	if s.full.Load() {
		return "", store.ErrUnusable
	}
	return s.Store.Put(ctx, key, value, revision)
}

// A refresh ahead of time that fails, and a store that does not take the reason, leave the token in use.
func TestTroubleAheadOfTimeAndAFullStore(t *testing.T) {
	for name, fault := range map[string]lab.Fault{
		"503":            {Kind: lab.FaultStatus, Status: 503},
		"invalid_grant":  {Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"invalid_grant"}`},
		"invalid_client": {Kind: lab.FaultStatus, Status: 401, ContentType: "application/json", Body: `{"error":"invalid_client"}`},
		"unnamed":        {Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"no"}`},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, lab.Habits{AccessTokenLifetime: time.Hour}, func(t *testing.T, w *testenv.Env) {
				w.MustCall(w.Session())
				w.AboutToExpire()
				w.Lab.Reset()
				w.Lab.SetFault("token", fault)
				c, line := w.Recorded()
				full := &readOnlyStore{Store: w.Store}
				c.Store = full
				line.OnResponse(func(req *http.Request, _ *http.Response) {
					if strings.HasSuffix(req.URL.Path, "/token") {
						full.full.Store(true)
					}
				})
				w.MustCall(c)
				if w.Lab.Counts()["token:refresh"] == 0 || !full.full.Load() {
					t.Error("no refresh was tried")
				}
				w.WantTabs(1)
			})
		})
	}
}

// lockingStore calls a function before it gives a refresh lock away.
type lockingStore struct {
	store.Store
	locking func()
}

func (s *lockingStore) Lock(ctx context.Context, key store.Key, name store.LockName) (func(), error) {
	if name == store.LockRefresh {
		s.locking()
	}
	return s.Store.Lock(ctx, key, name)
}

// What a failed refresh goes on with is the token that was stored when it got its lock, and not the one
// that another process has replaced while it waited.
func TestFailedRefreshGoesOnWithWhatWasReadUnderTheLock(t *testing.T) {
	testenv.InBubble(t, lab.Habits{AccessTokenLifetime: time.Hour}, func(t *testing.T, w *testenv.Env) {
		w.MustCall(w.Session())
		w.AboutToExpire()
		w.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 503})
		c, line := w.Recorded()
		full := &readOnlyStore{Store: w.Store}
		c.Store = &lockingStore{Store: full, locking: func() {
			rec := w.Record()
			rec.Grant.AccessToken = "of another account"
			w.Put(rec)
		}}
		line.OnResponse(func(req *http.Request, _ *http.Response) {
			if strings.HasSuffix(req.URL.Path, "/token") {
				full.full.Store(true)
			}
		})
		token, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
		if err != nil || !full.full.Load() || token.Value.Reveal() != "of another account" {
			t.Errorf("%v, %v", token, err)
		}
	})
}

// A caller that gives up returns at once; the refresh it started is stored.
func TestCancelledCaller(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Expire()
	before := w.Record()
	gate := w.Lab.Hold("token:refresh:committed")
	c := w.Session()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { result <- testenv.Call(ctx, c.HTTPClient(w.Lab.MCPURL()), w.Lab.MCPURL()) }()
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
	case <-time.After(testenv.Timeout): // 50 ms is the promise; what it excludes lasts as long as the gate
		t.Fatal("a cancelled caller does not return while the refresh is under way")
	}
	gate.Release()
	if err := c.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	after := w.Record()
	if after.Grant.RefreshToken == before.Grant.RefreshToken || after.Intent != nil {
		t.Error("the rotated token was not stored")
	}
	w.MustCall(w.Session())
	w.WantTabs(1)
}

// The server ends a login whose access token looks good for another hour. Whoever
// forces a refresh says that the token does not work: the rejection is final, for them
// and for every other process.
func TestRejectedRefreshIsFinalWhereTheTokenDoesNotWork(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Lab.RevokeFamilies()
	forced := w.Session()
	forced.LoginPolicy = handstamp.LoginNever
	_, err := forced.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
	testenv.WantKind(t, err, handstamp.ErrLoginRequired)
	if st, err := w.Session().Status(t.Context(), w.Lab.MCPURL()); err != nil || st.Usable() {
		t.Errorf("status %+v, %v", st, err)
	}
	quiet := w.Session()
	quiet.LoginPolicy = handstamp.LoginNever
	if err := w.Call(quiet); !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("error %v, want ErrLoginRequired", err)
	}
	w.MustCall(w.Session())
	w.WantTabs(2)
	w.WantCounts(map[string]int{"register": 1})
}

// A refresh that we began ahead of the expiry is another matter: the server may mind
// only that it came so early, and the token goes on being used.
func TestRejectedRefreshAheadOfTheExpiryIsNotFinal(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		w.MustCall(w.Session())
		w.AboutToExpire()
		w.Lab.Reset()
		w.Lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusBadRequest,
			ContentType: "application/json", Body: `{"error":"invalid_grant"}`})
		for range 3 {
			w.MustCall(w.Session())
		}
		w.WantCounts(map[string]int{"token:refresh": 1})
		st, err := w.Session().Status(t.Context(), w.Lab.MCPURL())
		if err != nil || st.State != handstamp.StateValid || st.RefreshRejected != "invalid_grant" {
			t.Errorf("status %+v, %v", st, err)
		}

		// A user who runs login does not hear that all is well.
		result, err := w.Session().Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
		if err != nil || result.Already {
			t.Errorf("login: %+v, %v", result, err)
		}
		w.WantTabs(2)
	})
}

// countingStore counts how often records are read.
type countingStore struct {
	store.Store
	reads atomic.Int32
}

func (s *countingStore) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	s.reads.Add(1)
	return s.Store.Get(ctx, key)
}

// A program that looks at its login before it uses it, as the bridge does, reads it once.
func TestStatusIsTheFirstRead(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*record.Grant)
		works  bool
	}{
		"valid":    {func(*record.Grant) {}, true},
		"rejected": {func(g *record.Grant) { g.Rejected, g.RefreshToken = true, "" }, false},
		"expired":  {func(g *record.Grant) { g.ExpiresAt, g.RefreshToken = g.ObtainedAt, "" }, false},
	} {
		memory := new(store.Memory)
		rec := expiredLogin(t, memory)
		rec.Grant.ObtainedAt, rec.Grant.ExpiresAt = time.Now(), time.Now().Add(time.Hour)
		test.change(rec.Grant)
		if err := record.Put(t.Context(), memory, rec); err != nil {
			t.Fatal(err)
		}
		counting := &countingStore{Store: memory}
		c := &handstamp.Client{Store: counting, LoginPolicy: handstamp.LoginNever}
		if _, err := c.Status(t.Context(), rec.ServerURL); err != nil {
			t.Fatal(err)
		}
		_, err := c.Token(t.Context(), rec.ServerURL, handstamp.TokenOptions{})
		if reads := counting.reads.Load(); (err == nil) != test.works || (reads == 1) != test.works {
			t.Errorf("%s: %d reads, %v", name, reads, err)
		}
	}
}

// expiredLogin stores a login whose access token has expired, at a server that gets no request.
func expiredLogin(t *testing.T, s store.Store) *record.Record {
	t.Helper()
	key, err := store.NewKey("https://mcp.example/mcp", "")
	if err != nil {
		t.Fatal(err)
	}
	rec := &record.Record{
		Key: key, ServerURL: key.Server,
		Clients: []*record.Client{{Issuer: "https://as.example", ID: "c", Method: "none", Source: record.SourceDynamic}},
		Grant: &record.Grant{
			Issuer: "https://as.example", ClientID: "c", TokenEndpoint: "https://as.example/token",
			AccessToken: "old", RefreshToken: "refresh", ObtainedAt: time.Now().Add(-2 * time.Hour), ExpiresAt: time.Now().Add(-time.Hour),
		},
	}
	if err := record.Put(t.Context(), s, rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

// Who waits for another process's refresh looks at the record about once a second, and goes on
// in the moment when the lock is released.
func TestWaitingForRefreshReadsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(store.Memory)
		rec := expiredLogin(t, memory)
		unlock, err := memory.Lock(t.Context(), rec.Key, store.LockRefresh)
		if err != nil {
			t.Fatal(err)
		}
		counting := &countingStore{Store: memory}
		c := &handstamp.Client{Store: counting, LoginPolicy: handstamp.LoginNever}
		defer c.Close(t.Context())
		got := make(chan *handstamp.Token)
		go func() {
			token, err := c.Token(t.Context(), rec.ServerURL, handstamp.TokenOptions{})
			if err != nil {
				t.Error(err)
			}
			got <- token
		}()
		const seconds = 20
		<-time.After(seconds * time.Second)
		if n := counting.reads.Load(); n > seconds+5 {
			t.Errorf("the record was read %d times in %d s", n, seconds)
		}
		rec.Grant.AccessToken, rec.Grant.ExpiresAt = "new", time.Now().Add(time.Hour)
		if err := record.Put(t.Context(), memory, rec); err != nil {
			t.Fatal(err)
		}
		released := time.Now()
		unlock()
		if token := <-got; token == nil || token.Value != "new" {
			t.Errorf("token %v", token)
		}
		if waited := time.Since(released); waited > 0 {
			t.Errorf("it went on only %v after the release", waited)
		}
	})
}

// A holder that has stored what is waited for, and does not release the lock, is not waited for
// any longer.
func TestWaitingForRefreshSeesTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(store.Memory)
		rec := expiredLogin(t, memory)
		unlock, err := memory.Lock(t.Context(), rec.Key, store.LockRefresh)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		c := &handstamp.Client{Store: memory, LoginPolicy: handstamp.LoginNever}
		defer c.Close(t.Context())
		stored := make(chan time.Time, 1)
		time.AfterFunc(5*time.Second, func() {
			rec.Grant.AccessToken, rec.Grant.ExpiresAt = "new", time.Now().Add(time.Hour)
			if err := record.Put(context.Background(), memory, rec); err != nil {
				t.Error(err)
			}
			stored <- time.Now()
		})
		token, err := c.Token(t.Context(), rec.ServerURL, handstamp.TokenOptions{})
		if err != nil || token.Value != "new" {
			t.Fatalf("token %v, %v", token, err)
		}
		if waited := time.Since(<-stored); waited > 1100*time.Millisecond {
			t.Errorf("it was seen only after %v", waited)
		}
	})
}

// stuckStore is a store whose waits end only with their context.
type stuckStore struct{ store.Store }

func (stuckStore) Put(ctx context.Context, _ store.Key, _ []byte, _ store.Revision) (store.Revision, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func (stuckStore) Delete(ctx context.Context, _ store.Key, _ store.Revision) error {
	<-ctx.Done()
	return ctx.Err()
}

// No operation waits for a store without bound, though its caller's context has none, and
// LockTimeout is the bound.
func TestWaitsForTheStoreAreBounded(t *testing.T) {
	operations := map[string]func(ctx context.Context, c *handstamp.Client, server string) error{
		"logout": func(ctx context.Context, c *handstamp.Client, server string) error {
			_, err := c.Logout(ctx, server, handstamp.LogoutOptions{NoRevoke: true})
			return err
		},
		"refresh": func(ctx context.Context, c *handstamp.Client, server string) error {
			_, err := c.Token(ctx, server, handstamp.TokenOptions{Refresh: true})
			return err
		},
	}
	for name, operation := range operations {
		for _, limit := range []time.Duration{0, 3 * time.Second} {
			t.Run(name+"/"+limit.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					memory := new(store.Memory)
					rec := expiredLogin(t, memory)
					c := &handstamp.Client{Store: stuckStore{memory}, LoginPolicy: handstamp.LoginNever, LockTimeout: limit}
					defer c.Close(t.Context())
					want := limit
					if want == 0 {
						want = 15 * time.Second
					}
					began := time.Now()
					err := operation(t.Context(), c, rec.ServerURL)
					if took := time.Since(began); took > want+time.Second {
						t.Errorf("it took %v, want %v", took, want)
					}
					if !errors.Is(err, handstamp.ErrStore) || !strings.Contains(err.Error(), "for too long") {
						t.Errorf("error %v", err)
					}
				})
			})
		}
	}
}

// Access tokens that live for seconds, at a server that does not say so: each
// rejection is a refresh, however soon it comes, as long as the token before did
// work. The test catches a guard against servers that reject every token which
// takes a short life for that, and opens a tab.
func TestShortLivedTokens(t *testing.T) {
	w := testenv.New(t, lab.Habits{ExpiresIn: lab.ExpiresOmitted})
	c := w.Session()
	w.MustCall(c)
	for range 5 {
		w.Lab.RevokeAccessTokens()
		w.MustCall(c)
		w.MustCall(c)
	}
	w.WantCounts(map[string]int{"token:refresh": 5})
	w.WantTabs(1)
}

// Before the refresh token is used, there is space for the record as it is and a response beside it.
func TestRefreshReservesTheRecordAndAResponse(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	c := w.Session()
	key, err := store.NewKey(w.Lab.MCPURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	value, _, err := w.Store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	sized := &sizedStore{Store: w.Store}
	c.Store = sized
	if _, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err != nil {
		t.Fatal(err)
	}
	if least := len(value) + 16<<10; len(sized.sizes) != 1 || sized.sizes[0] < least {
		t.Errorf("reserved %v bytes, want one reservation of at least %d", sized.sizes, least)
	}
}

// sizedStore notes what is reserved in it.
type sizedStore struct {
	store.Store
	sizes []int
}

func (s *sizedStore) Reserve(_ context.Context, _ store.Key, size int) (store.Reservation, error) {
	s.sizes = append(s.sizes, size)
	return nil, nil
}
