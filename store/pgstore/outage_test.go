package pgstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// outage is a login that two replicas have, at a server that ends a login whose refresh token is
// used twice, and whose access token has expired.
type outage struct {
	*testenv.Env
	first, second *handstamp.Client
}

func newOutage(t *testing.T, url string) *outage {
	t.Helper()
	o := &outage{Env: testenv.New(t, testenv.Personality(t, "rotates-strictly"))}
	for _, c := range []**handstamp.Client{&o.second, &o.first} {
		db, _ := openURL(t, url, pgstore.Options{})
		o.Store = storeOf(t, db, ownerOf(0))
		*c = o.Session()
		(*c).LoginPolicy = handstamp.LoginNever
	}
	o.MustLogin(o.Session())
	o.Expire()
	o.Lab.Reset()
	return o
}

// result is what a call of Token has returned.
type result struct {
	token *handstamp.Token
	err   error
}

func (o *outage) start(c *handstamp.Client) <-chan result {
	results := make(chan result, 1)
	go func() {
		got, err := c.Token(context.Background(), o.Lab.MCPURL(), handstamp.TokenOptions{})
		results <- result{got, err}
	}()
	return results
}

// hold starts a refresh, which waits at a point of the authorization server.
func (o *outage) hold(t *testing.T, point string) (*lab.Gate, <-chan result) {
	t.Helper()
	gate := o.Lab.Hold(point)
	t.Cleanup(gate.Release)
	results := o.start(o.first)
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return gate, results
}

// wantSame checks that both replicas have the token of the one refresh.
func (o *outage) wantSame(t *testing.T, first, second result) {
	t.Helper()
	if first.err != nil || second.err != nil {
		t.Fatalf("the replicas got %v and %v\n%s", first.err, second.err, o.Diary())
	}
	if first.token.Value != second.token.Value {
		t.Error("the replicas have two tokens")
	}
	o.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0})
	if a := o.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
		t.Errorf("%d reuses, %d families revoked", a.Reuses, a.FamiliesRevoked)
	}
	o.MustCall(o.first)
	o.MustCall(o.second)
}

// long returns a time that is as long as it is in the field where there is time.
func long(short, field time.Duration) time.Duration {
	if testenv.Long() {
		return field
	}
	return short
}

// The database is down when the new refresh token arrives. The replica that has it goes on with it,
// the other one fails with the right error, and neither needs a restart once the database is back.
func TestDatabaseDownWhenATokenArrives(t *testing.T) {
	server := servicetest.StartPostgres(t)
	o := newOutage(t, server.URL())
	gate, results := o.hold(t, "token:refresh:committed")
	server.Kill()
	gate.Release()
	first := <-results
	for end := time.Now().Add(long(time.Second, 30*time.Second)); time.Now().Before(end); {
		r := <-o.start(o.second)
		if !errors.Is(r.err, handstamp.ErrStore) || !errors.Is(r.err, store.ErrUnusable) {
			t.Fatalf("without a database: %v", r.err)
		}
		time.Sleep(100 * time.Millisecond) // so as not to keep the machine busy
	}
	server.Start()
	o.wantSame(t, first, <-o.start(o.second))
}

// The database is restarted while a refresh waits for the authorization server. Its lock ends with
// the connection, and still no other replica sends the refresh token.
func TestDatabaseRestartDuringARefresh(t *testing.T) {
	server := servicetest.StartPostgres(t)
	o := newOutage(t, server.URL())
	gate, results := o.hold(t, "token:refresh:committed")
	server.Kill()
	server.Start()
	waiting := o.start(o.second)
	ctx, cancel := context.WithTimeout(t.Context(), long(2*time.Second, 15*time.Second))
	defer cancel()
	if r, err := gate.Wait(ctx); err == nil {
		t.Errorf("another replica sent the refresh token: %v", r)
	}
	gate.Release()
	o.wantSame(t, <-results, <-waiting)
}

// A standby takes over while a refresh waits for the authorization server.
func TestFailoverDuringARefresh(t *testing.T) {
	primary := servicetest.StartPostgres(t, "synchronous_standby_names=*")
	standby := primary.StartStandby()
	o := newOutage(t, servicetest.URLs(primary, standby))
	gate, results := o.hold(t, "token:refresh:committed")
	primary.Kill()
	waiting := o.start(o.second)
	standby.Promote()
	ctx, cancel := context.WithTimeout(t.Context(), long(time.Second, 15*time.Second))
	defer cancel()
	if r, err := gate.Wait(ctx); err == nil {
		t.Errorf("another replica sent the refresh token: %v", r)
	}
	gate.Release()
	first := <-results
	second := <-waiting
	if errors.Is(second.err, store.ErrUnusable) { // it came before the standby took over
		second = <-o.start(o.second)
	}
	o.wantSame(t, first, second)
}

// Without a database no refresh begins: the refresh token is still good when it is back.
func TestNoRefreshBeginsWithoutADatabase(t *testing.T) {
	server := servicetest.StartPostgres(t)
	o := newOutage(t, server.URL())
	server.Kill()
	for _, c := range []*handstamp.Client{o.first, o.second} {
		r := <-o.start(c)
		if !errors.Is(r.err, handstamp.ErrStore) || !errors.Is(r.err, store.ErrUnusable) {
			t.Errorf("without a database: %v", r.err)
		}
	}
	o.WantCounts(map[string]int{"token:refresh": 0})
	server.Start()
	o.wantSame(t, <-o.start(o.first), <-o.start(o.second))
}
