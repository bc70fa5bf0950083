package testenv

import (
	"context"
	"net/url"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
)

// Browser returns a session with the loopback listener, whose browser is the
// given function.
func (w *Env) Browser(open func(ctx context.Context, rawURL string) error) *handstamp.Client {
	c := w.Session()
	var opening sync.WaitGroup // a login may end before its browser has
	w.T.Cleanup(opening.Wait)
	c.Prompt = handstamp.Prompt{OpenURL: func(ctx context.Context, rawURL string) error {
		opening.Add(1)
		defer opening.Done()
		w.Tabs.Add(1)
		return open(ctx, rawURL)
	}}
	return c
}

// RedirectURI returns where an authorization URL sends the browser back to, and
// its state.
func RedirectURI(t testing.TB, rawURL string) (redirectURI, state string) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	return q.Get("redirect_uri"), q.Get("state")
}
