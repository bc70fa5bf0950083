package testenv

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/store"
)

// watchedDatabase passes on which changes an App was given.
type watchedDatabase struct {
	store.Database
	given chan store.Change
}

func (d *watchedDatabase) Watch(ctx context.Context, changed func(store.Change)) error {
	return d.Database.(store.Watcher).Watch(ctx, func(c store.Change) {
		changed(c)
		select {
		case d.given <- c:
		case <-ctx.Done():
		}
	})
}

// sentTokens keeps the Authorization header of the last request, and counts rejections.
type sentTokens struct {
	last     atomic.Value // of string
	rejected atomic.Int32
}

func (s *sentTokens) RoundTrip(req *http.Request) (*http.Response, error) {
	s.last.Store(req.Header.Get("Authorization"))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		s.rejected.Add(1)
	}
	return resp, err
}

// Apps is two replicas, each with a handle of its own on the same credentials, of which one
// refreshes and removes a login: the other one sends the new token, or none, and not first the old
// one.
func (w *Env) Apps(first, second store.Database) {
	t := w.T
	t.Helper()
	sent := new(sentTokens)
	watched := &watchedDatabase{second, make(chan store.Change)}
	user := OwnerOf(0)
	one, two := w.appClient(first, user, sent), w.appClient(watched, user, sent)
	next := func() {
		t.Helper()
		select {
		case <-watched.given:
		case <-time.After(Timeout):
			t.Fatal("no change was reported")
		}
	}
	until := func(done func() bool) {
		t.Helper()
		for !done() {
			next()
		}
	}
	next() // it listens
	var err error
	if w.Store, err = first.Store(user); err != nil {
		t.Fatal(err)
	}
	w.MustLogin(w.Session())
	w.MustCall(one)
	w.MustCall(two)
	token := func(c *handstamp.Client, o handstamp.TokenOptions) (string, error) {
		token, err := c.Token(t.Context(), w.Lab.MCPURL(), o)
		if err != nil {
			return "", err
		}
		return token.Value.Reveal(), nil
	}
	refreshed, err := token(one, handstamp.TokenOptions{Refresh: true})
	if err != nil {
		t.Fatal(err)
	}
	until(func() bool {
		now, err := token(two, handstamp.TokenOptions{})
		return err == nil && now == refreshed
	})
	w.MustCall(two)
	if got := sent.last.Load(); got != "Bearer "+refreshed {
		t.Error("the token is not the one that the other replica was issued")
	}
	if _, err := one.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
		t.Fatal(err)
	}
	until(func() bool {
		_, err := token(two, handstamp.TokenOptions{})
		return errors.Is(err, handstamp.ErrLoginRequired)
	})
	if got := sent.rejected.Load(); got != 0 {
		t.Errorf("%d requests were rejected", got)
	}
	if err := w.Call(two); !errors.Is(err, handstamp.ErrLoginRequired) || sent.last.Load() != "" {
		t.Errorf("after a logout at the other replica: %v, or a token was sent", err)
	}
}

// appClient returns the Client of a user in an App of its own.
func (w *Env) appClient(
	db store.Database, user store.Owner, transport http.RoundTripper,
) *handstamp.Client {
	w.T.Helper()
	app := &hosted.App{Database: db, Configure: func(_ store.Owner, c *handstamp.Client) {
		c.InsecureAllowPrivateAddresses, c.BaseTransport = true, transport
	}}
	w.T.Cleanup(func() {
		if err := app.Close(context.Background()); err != nil {
			w.T.Error(err)
		}
	})
	c, err := app.Client(user)
	if err != nil {
		w.T.Fatal(err)
	}
	return c
}
