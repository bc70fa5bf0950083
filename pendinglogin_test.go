package handstamp_test

import (
	"context"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// lostTab begins a login whose tab is closed at once, and returns its URL and how
// its request ends.
func lostTab(w *testenv.Env) (rawURL string, ended <-chan error) {
	w.T.Helper()
	opened, result := make(chan string, 1), make(chan error, 1)
	c := w.Session()
	c.Prompt.OpenURL = func(_ context.Context, rawURL string) error {
		opened <- rawURL
		return nil
	}
	go func() { result <- w.Call(c) }()
	select {
	case rawURL = <-opened:
	case err := <-result:
		w.T.Fatalf("the login has ended: %v", err)
	}
	return rawURL, result
}

// waiting returns a Client that waits for another process's login, and the URLs that
// its prompt shows meanwhile.
func waiting(w *testenv.Env) (*handstamp.Client, <-chan string) {
	urls := make(chan string, 10)
	c := w.Session()
	c.Prompt.Waiting = func(_ context.Context, r handstamp.AuthorizationRequest) {
		if r.URL != "" {
			urls <- r.URL
		}
	}
	return c, urls
}

// ageLogin makes the pending login older.
func ageLogin(w *testenv.Env, d time.Duration) {
	w.T.Helper()
	rec := w.Record()
	rec.PendingLogin.At = rec.PendingLogin.At.Add(-d)
	w.Put(rec)
}

// Whatever waits for a login whose tab was lost shows its URL: Login and a request alike.
func TestLostTabIsFoundAgain(t *testing.T) {
	t.Parallel()
	for _, explicit := range []bool{true, false} {
		w := testenv.New(t, lab.NoneFirst())
		rawURL, first := lostTab(w)
		ageLogin(w, -time.Hour) // so that its tab is not old, however busy the machine is
		c, urls := waiting(w)
		second := make(chan error, 1)
		go func() {
			if explicit {
				_, err := c.Login(context.Background(), w.Lab.MCPURL(), handstamp.LoginOptions{})
				second <- err
				return
			}
			second <- w.Call(c)
		}()
		if got := <-urls; got != rawURL {
			t.Errorf("explicit %v: the prompt showed %s, the login is at %s", explicit, got, rawURL)
		}
		if _, err := lab.Browse(context.Background(), rawURL); err != nil {
			t.Fatal(err)
		}
		for _, result := range []<-chan error{first, second} {
			if err := <-result; err != nil {
				t.Errorf("explicit %v: %v", explicit, err)
			}
		}
		w.WantTabs(0) // beside the lost one
		if w.Record().PendingLogin != nil {
			t.Error("the record still has the pending login")
		}
	}
}

// A user who asks for a login is given a tab where the other's is old. A request
// is not.
func TestOldTabIsOpenedAgain(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, lab.NoneFirst())
	rawURL, first := lostTab(w)
	ageLogin(w, time.Minute)
	request, urls := waiting(w)
	requested := make(chan error, 1)
	go func() { requested <- w.Call(request) }()
	<-urls // for 50 ms at least it has had the chance to open one
	w.WantTabs(0)
	asked := w.Session()
	asked.Prompt.OpenURL = func(ctx context.Context, opened string) error {
		if opened != rawURL {
			t.Errorf("opened %s, the login is at %s", opened, rawURL)
		}
		return w.OpenURL(ctx, opened)
	}
	if _, err := asked.Login(context.Background(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
		t.Error(err)
	}
	for _, result := range []<-chan error{first, requested} {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	w.WantTabs(1)
}

// What a killed process left behind is no login that waits, and neither is one
// that has ended badly.
func TestPendingLoginEnds(t *testing.T) {
	w := testenv.New(t, lab.Habits{Consent: lab.ConsentDeny})
	key, err := store.NewKey(w.Lab.MCPURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	w.Put(&record.Record{
		Key: key, ServerURL: w.Lab.MCPURL(),
		PendingLogin: &record.PendingLogin{At: time.Now(), URL: "https://gone.example/authorize"},
	})
	gate := w.Lab.Hold("resource_metadata:received")
	c := w.Session()
	result := make(chan error, 1)
	go func() { result <- w.Call(c) }()
	if _, err := gate.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	if w.Record().PendingLogin != nil {
		t.Error("a process that waits now is sent to a login that nothing waits for")
	}
	gate.Release()
	testenv.WantKind(t, <-result, handstamp.ErrDenied)
	if w.Record().PendingLogin != nil {
		t.Error("the denied login still waits")
	}

	// One that its caller has called off.
	ctx, cancel := context.WithCancel(context.Background())
	c.Prompt.OpenURL = func(context.Context, string) error {
		cancel()
		return nil
	}
	if _, err := c.Login(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{}); err != context.Canceled {
		t.Errorf("error %v", err)
	}
	if w.Record().PendingLogin != nil {
		t.Error("the login that was called off still waits")
	}
}
