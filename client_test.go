package handstamp_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A call of a closed Client is the caller's mistake.
func TestClosedClient(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	c := w.Session()
	if err := c.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	err := w.Call(c)
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
	if e, ok := errtype.As[*handstamp.Error](err); !ok || e.Error() != "the client is closed" {
		t.Errorf("error %v", err)
	}
}

// TestDialContextCarriesAuthorizationRequests: a transport that connects in its own way
// carries the requests to the authorization server too, as Client.AuthTransport says.
func TestDialContextCarriesAuthorizationRequests(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	var mu sync.Mutex
	dialed := make(map[string]bool)
	c := w.Session()
	c.BaseTransport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		dialed[address] = true
		mu.Unlock()
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	w.MustCall(c)
	mu.Lock()
	defer mu.Unlock()
	for _, server := range []string{w.Lab.MCPURL(), w.Lab.Issuer()} {
		if host := hostOf(t, server); !dialed[host] {
			t.Errorf("%s was reached otherwise; dialed %v", host, dialed)
		}
	}
}

func hostOf(t *testing.T, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// Close and the start of work take two locks; in different orders they would wait for
// each other for ever.
func TestCloseDuringRefreshes(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			c := &handstamp.Client{Store: w.Store, LoginPolicy: handstamp.LoginNever}
			ts := c.TokenSource(context.Background(), w.Lab.MCPURL())
			var wg sync.WaitGroup
			start := make(chan struct{})
			for range 4 {
				wg.Go(func() { <-start; ts.Token() })
			}
			wg.Go(func() { <-start; c.Close(context.Background()) })
			close(start)
			wg.Wait()
		}
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("deadlock")
	}
}
