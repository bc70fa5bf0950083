package handstamp_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// TestDialContextCarriesAuthorizationRequests: a transport that connects in its own way
// carries the requests to the authorization server too, as Client.AuthTransport says.
func TestDialContextCarriesAuthorizationRequests(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	var mu sync.Mutex
	dialed := make(map[string]bool)
	c := w.session()
	c.BaseTransport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		dialed[address] = true
		mu.Unlock()
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	w.mustCall(c)
	mu.Lock()
	defer mu.Unlock()
	for _, server := range []string{w.lab.MCPURL(), w.lab.Issuer()} {
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
