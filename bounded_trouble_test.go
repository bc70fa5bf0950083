package handstamp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// silentBody never ends by itself.
type silentBody struct{ closed chan struct{} }

func (b silentBody) Read([]byte) (int, error) {
	<-b.closed
	return 0, io.ErrClosedPipe
}

func (b silentBody) Close() error {
	close(b.closed)
	return nil
}

// A refusal whose body does not end holds nobody up.
func TestRefusalWithoutEnd(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	c := w.session()
	var silent []silentBody
	c.BaseTransport = roundTrip(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusUnauthorized {
			resp.Body.Close()
			body := silentBody{make(chan struct{})}
			silent = append(silent, body)
			resp.Body = body
		}
		return resp, err
	})
	w.mustCall(c)
	if len(silent) != 1 {
		t.Fatalf("%d refusals", len(silent))
	}
	select {
	case <-silent[0].closed:
	default:
		t.Error("the body was left open")
	}
}

// A wait that was noted while the clock ran ahead ends with that clock.
func TestWaitNotedByWrongClock(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.expire()
	rec := w.record()
	for _, test := range []struct {
		wait  time.Duration
		waits bool
	}{{10 * time.Minute, true}, {24 * time.Hour, false}} {
		rec.Retry = &store.Retry{NotBefore: time.Now().Add(test.wait), Failures: 3, Reason: "503"}
		w.put(rec)
		c := w.session()
		status, err := c.Status(t.Context(), w.lab.MCPURL())
		if err != nil || status.RetryAt.IsZero() == test.waits {
			t.Errorf("%v: status %+v, %v", test.wait, status, err)
		}
		switch err := w.call(c); {
		case test.waits:
			wantKind(t, err, handstamp.ErrUnreachable)
		case err != nil:
			t.Errorf("%v: %v", test.wait, err)
		}
	}
	w.wantCounts(map[string]int{"token:refresh": 1})
}

// A configured client that is rejected is rejected for the next request, too,
// unless something has changed.
func TestRejectedClientRests(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "old"})
	configured := func(secret string) *handstamp.Client {
		c := w.session()
		c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: store.Secret(secret), TokenEndpointAuthMethod: "client_secret_basic"}
		return c
	}
	w.mustCall(configured("old"))
	w.expire()
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "new"})
	w.lab.Reset()
	c := configured("old")
	for range 20 {
		wantKind(t, w.call(c), handstamp.ErrClientRejected)
	}
	w.wantCounts(map[string]int{"token:refresh": 1})
	w.mustCall(configured("new"))
	w.wantCounts(map[string]int{"token:refresh": 2})
	w.mustCall(c) // with what the other has stored
	w.wantTabs(1)
}

// A store that takes nothing, and cannot say so before: the person is asked once,
// and what they gave lives on in this process until the store takes it.
func TestLoginThatCannotBeStored(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "app"})
	disk := &brittle{Store: w.store}
	w.store = disk
	c := w.session()
	c.Registration = &handstamp.Registration{ClientID: "app"}
	for range 5 {
		w.mustCall(c)
	}
	w.wantTabs(1)
	disk.left.Store(1000)
	w.lab.RevokeAccessTokens()
	w.mustCall(c)
	w.mustCall(w.session()) // another process finds it
	w.wantTabs(1)
}

// A person who asks for a login is told that it could not be stored, and the
// server that its tokens are not needed. Requests do not ask again at once.
func TestAskedLoginThatCannotBeStored(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "app"})
	disk := &brittle{Store: w.store}
	w.store = disk
	c := w.session()
	c.Registration = &handstamp.Registration{ClientID: "app"}
	_, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{})
	wantKind(t, err, handstamp.ErrStore)
	if a := w.lab.Audit(); len(a.Families) != 1 || !a.Families[0].Revoked {
		t.Errorf("the tokens are still good: %+v", a)
	}
	for range 3 {
		wantKind(t, w.call(c), handstamp.ErrStore)
	}
	w.wantTabs(1)
	disk.left.Store(1000)
	if _, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
		t.Error(err)
	}
	w.mustCall(c)
	w.wantTabs(2)
}

// The first refusal of a login stays in the error of what was tried after it.
func TestFirstRefusalIsTold(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.lab.ForgetClients()
	w.lab.SetFault("register", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusForbidden})
	_, err := w.session().Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{Force: true})
	wantKind(t, err, handstamp.ErrRegistrationRequired)
	if err == nil || !strings.Contains(err.Error(), "registration endpoint returned status 403 (and before that: oauth: the authorization endpoint returned") {
		t.Errorf("error %v", err)
	}
}

// What a closed Client is asked for is a mistake of who asks.
func TestClosedClient(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	c := w.session()
	if err := c.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	err := w.call(c)
	wantKind(t, err, handstamp.ErrInvalidConfig)
	if e, ok := errors.AsType[*handstamp.Error](err); !ok || e.Error() != "the client is closed" {
		t.Errorf("error %v", err)
	}
}
