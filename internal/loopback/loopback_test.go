package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
)

func TestSignIn(t *testing.T) {
	l, j := listen(t, Options{})
	if !strings.HasPrefix(l.RedirectURI(), "http://127.0.0.1:") || !strings.HasSuffix(l.RedirectURI(), "/callback") {
		t.Errorf("redirect URI %q", l.RedirectURI())
	}
	succeed(t, l)
	if j.count() != 1 {
		t.Errorf("Accept was called %d times", j.count())
	}
	// One result, however often it is requested.
	if params, err := wait(t, l); err != nil || params.Get("code") != "c" {
		t.Errorf("again: %v, %v", params, err)
	}
}

func TestAcceptIsRequired(t *testing.T) {
	if l, err := Listen(t.Context(), Options{}); err == nil {
		l.Close()
		t.Error("a Listener without Accept")
	}
}

// TestDenied ends with the awaited response, too; it says no.
func TestDenied(t *testing.T) {
	l, j := listen(t, Options{})
	denied := errors.New("access was denied")
	j.final = denied
	responses := later(t, l, request{target: l.path + "?error=access_denied&state=good&iss=x"})
	params, err := wait(t, l)
	if !errors.Is(err, denied) || params.Get("iss") != "x" {
		t.Errorf("%v, %v", params, err)
	}
	l.Finish(Page{Message: "not shown", Err: err})
	l.Finish(Page{Message: "the second does not count"})
	a := <-responses
	if a.status != 200 || !strings.Contains(a.body, "Access was denied") || strings.Contains(a.body, "not shown") || strings.Contains(a.body, "second") {
		t.Errorf("%d, %s", a.status, a.body)
	}
}

// TestStrangers sends what does not belong to this sign-in before what does.
func TestStrangers(t *testing.T) {
	l, j := listen(t, Options{})
	queries := []string{
		"", "?", "?code=c", "?error=access_denied", "?code=c&state=", "?code=c&state=forged", "?error=access_denied&state=forged",
		"?state=forged", "?code=c&STATE=good", "?code=c&state=good%00", "?code=c&state=+good", "?code=c&state=%zz",
		"?code=c&state=good&state=good", "?code=c&state=good&state=forged", "?code=c&state=forged&state=good",
		"?code=c&code=d&state=good", "?code=c&%63ode=d&state=good", "?error=a&error=b&state=good", "?iss=a&iss=b&code=c&state=good",
		"?code=%zz&state=good", "?response=a&response=b&state=good", "?code=c;state=good",
	}
	for _, q := range queries {
		if a := send(t, l, request{target: l.path + q}); a.status != 400 || !strings.Contains(a.body, "does not belong") {
			t.Errorf("%q: %d", q, a.status)
		}
	}
	succeed(t, l)
	asked := j.count()

	// The code cannot be replaced afterwards, nor the outcome reached again.
	for _, q := range []string{"?code=d&state=good", "?error=access_denied&state=good", "?code=c&state=good&extra=1", "?code=c&state=forged"} {
		if a := send(t, l, request{target: l.path + q}); a.status != 410 || !strings.Contains(a.body, "expired") {
			t.Errorf("%q after the response: %d", q, a.status)
		}
	}
	if j.count() != asked {
		t.Error("Accept was called after the response")
	}
}

// TestTwoTabs brings the same response many times at once.
func TestTwoTabs(t *testing.T) {
	l, j := listen(t, Options{})
	const tabs = 6
	var responses []<-chan responseOf
	for i := range tabs {
		target := l.path + "?code=c&state=good"
		if i%2 == 1 {
			target = l.path + "?state=good&code=c" // the same, in another order
		}
		responses = append(responses, later(t, l, request{target: target}))
	}
	if params, err := wait(t, l); err != nil || params.Get("code") != "c" {
		t.Fatal(params, err)
	}
	l.Finish(Page{Message: "You are signed in to the <lab>."})
	first := 0
	for _, c := range responses {
		a := <-c
		if a.status != 200 || !strings.Contains(a.body, "signed in to the &lt;lab&gt;.") {
			t.Errorf("%d, %s", a.status, a.body)
		}
		if !strings.Contains(a.body, "already") {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d tabs were the first", first)
	}
	if a := send(t, l, request{target: l.path + "?code=c&state=good"}); !strings.Contains(a.body, "already") {
		t.Errorf("a tab after that: %s", a.body)
	}
	if j.count() != 1 {
		t.Errorf("Accept was called %d times", j.count())
	}
}

// TestAcceptIsAskedOneByOne has many strangers come at once, and an Accept that
// gives others the chance to come in between.
func TestAcceptIsAskedOneByOne(t *testing.T) {
	var calls, within, most atomic.Int32
	l := unplugged(t, func(url.Values) error {
		calls.Add(1)
		if n := within.Add(1); n > most.Load() {
			most.Store(n)
		}
		for range 1000 {
			runtime.Gosched()
		}
		within.Add(-1)
		return ErrIgnore
	})
	var strangers sync.WaitGroup
	for range 20 {
		strangers.Go(func() {
			r := httptest.NewRequest("GET", "/callback?state=forged", nil)
			r.Host = l.host
			l.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	strangers.Wait()
	if most.Load() != 1 || calls.Load() != 20 {
		t.Errorf("%d calls, %d at once", calls.Load(), most.Load())
	}
}

func TestTimeout(t *testing.T) {
	l, j := listen(t, Options{})
	late := errors.New("no response came")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(late)
	if params, err := l.Wait(ctx); !errors.Is(err, late) || params != nil {
		t.Errorf("%v, %v", params, err)
	}
	a := send(t, l, request{target: l.path + "?code=c&state=good"})
	if a.status != 410 || !strings.Contains(a.body, "expired") {
		t.Errorf("%d, %s", a.status, a.body)
	}
	if j.count() != 0 {
		t.Error("the late response was looked at")
	}
	if _, err := l.Wait(ctx); err == nil {
		t.Error("the wait went on")
	}
}

// TestResponseAtTheLastMoment has both a response and the end of the wait.
func TestResponseAtTheLastMoment(t *testing.T) {
	l, _ := listen(t, Options{})
	responses := later(t, l, request{target: l.path + "?code=c&state=good"})
	<-l.received
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if params, err := l.Wait(ctx); err != nil || params.Get("code") != "c" {
			t.Fatal(params, err)
		}
	}
	l.Finish(Page{})
	<-responses
}

// TestExpiryWhileAsking ends the wait between question and outcome.
func TestExpiryWhileAsking(t *testing.T) {
	asked, decide := make(chan bool), make(chan bool)
	l, _ := listen(t, Options{Accept: func(url.Values) error {
		asked <- true
		<-decide
		return nil
	}})
	responses := later(t, l, request{target: l.path + "?code=c&state=good"})
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if params, err := l.Wait(ctx); err == nil || params != nil {
		t.Error(params, err)
	}
	decide <- true
	if a := <-responses; a.status != 410 {
		t.Errorf("%d", a.status)
	}
}

func TestCloseEndsTheWait(t *testing.T) {
	l, _ := listen(t, Options{})
	waiting := make(chan error)
	go func() {
		_, err := l.Wait(context.Background())
		waiting <- err
	}()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", address(l)); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
}

// TestCloseWithoutFinish leaves no browser without a response.
func TestCloseWithoutFinish(t *testing.T) {
	l, _ := listen(t, Options{})
	responses := later(t, l, request{target: l.path + "?code=c&state=good"})
	if _, err := wait(t, l); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if a := <-responses; a.status != 200 || !strings.Contains(a.body, "not finished") {
		t.Errorf("%d, %s", a.status, a.body)
	}
}

// TestFinishThenClose is how every program ends: the page has to get out. The
// same port serves the next sign-in at once.
func TestFinishThenClose(t *testing.T) {
	uri := fmt.Sprintf("http://127.0.0.1:%d/callback", proctest.FreePort(t))
	for range 25 {
		l, _ := listen(t, Options{RedirectURI: uri})
		if l.RedirectURI() != uri {
			t.Fatalf("%q became %q", uri, l.RedirectURI())
		}
		responses := later(t, l, request{target: l.path + "?code=c&state=good"})
		if _, err := wait(t, l); err != nil {
			t.Fatal(err)
		}
		l.Finish(Page{})
		l.Close()
		if a := <-responses; !strings.Contains(a.body, "You are signed in.") || !strings.Contains(a.body, "</html>") {
			t.Fatalf("%d, %s", a.status, a.body)
		}
	}
}

// TestFinishIsAwaitedFor30Seconds, and no longer.
func TestFinishIsAwaitedFor30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := unplugged(t, new(stateChecker).accept)
		start := time.Now()
		w := httptest.NewRecorder()
		l.ServeHTTP(w, httptest.NewRequest("GET", "http://"+l.host+"/callback", nil)) // as for a proxy
		if w.Code != 403 {
			t.Errorf("%d", w.Code)
		}
		r := httptest.NewRequest("GET", "/callback?code=c&state=good", nil)
		r.Host = l.host
		w = httptest.NewRecorder()
		l.ServeHTTP(w, r)
		if got := time.Since(start); got != holdTime || w.Code != 200 || !strings.Contains(w.Body.String(), "still being completed") {
			t.Errorf("after %v: %d, %s", got, w.Code, w.Body)
		}
		if _, err := l.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		// A tab that is closed meanwhile is not waited for.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		l.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
		if got := time.Since(start); got != time.Second {
			t.Errorf("a closed tab was held for %v", got)
		}
	})
}

// TestManyTabsAreNotAllHeld bounds what one user can hold open.
func TestManyTabsAreNotAllHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := unplugged(t, new(stateChecker).accept)
		pages := make(chan string, maxHeld+2)
		for range maxHeld + 2 {
			go func() {
				r := httptest.NewRequest("GET", "/callback?code=c&state=good", nil)
				r.Host = l.host
				w := httptest.NewRecorder()
				l.ServeHTTP(w, r)
				pages <- w.Body.String()
			}()
		}
		synctest.Wait()
		if len(pages) != 2 {
			t.Errorf("%d tabs got a page at once, want 2", len(pages))
		}
		l.Finish(Page{})
		synctest.Wait()
		if len(pages) != maxHeld+2 {
			t.Errorf("%d tabs got a page", len(pages))
		}
	})
}

// unplugged returns a Listener without sockets.
func unplugged(t *testing.T, accept func(url.Values) error) *Listener {
	t.Helper()
	r, err := parseRedirect("", 0)
	if err != nil {
		t.Fatal(err)
	}
	return newListener(accept, r, 8765)
}
