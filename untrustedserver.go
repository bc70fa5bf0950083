package handstamp

import (
	"net/http"
	"runtime"
	"sync"
	"weak"

	"github.com/handstamp/handstamp/internal/oauth"
)

// untrustedReach returns which addresses servers may have that are not trusted.
func (c *Client) untrustedReach() oauth.Reach {
	if c.InsecureAllowPrivateAddresses {
		return oauth.ReachLocal
	}
	return oauth.ReachPublic
}

// guardTransport returns a RoundTripper that sends requests by base to the addresses that reach
// allows.
func guardTransport(base http.RoundTripper, reach func(host string) oauth.Reach) http.RoundTripper {
	if t, ok := base.(*http.Transport); ok {
		return oauth.GuardConnections(t, reach)
	}
	return oauth.GuardRequests(base, reach)
}

// serverGuards are the guarded transports of MCP servers. Clients with the same transport, such as
// http.DefaultTransport, share its connections, and so they share the guarded one.
var serverGuards struct {
	sync.Mutex
	all map[serverGuard]*http.Transport
}

type serverGuard struct {
	base  weak.Pointer[http.Transport]
	reach oauth.Reach
}

// guardServers returns what carries the requests to MCP servers that are not trusted.
func guardServers(base http.RoundTripper, reach oauth.Reach) http.RoundTripper {
	allowed := func(string) oauth.Reach { return reach }
	t, ok := base.(*http.Transport)
	if !ok {
		return guardTransport(base, allowed)
	}
	key := serverGuard{weak.Make(t), reach}
	serverGuards.Lock()
	defer serverGuards.Unlock()
	guarded := serverGuards.all[key]
	if guarded == nil {
		guarded = oauth.GuardConnections(t, allowed)
		if serverGuards.all == nil {
			serverGuards.all = make(map[serverGuard]*http.Transport)
		}
		serverGuards.all[key] = guarded
		runtime.AddCleanup(t, forgetServerGuard, key)
	}
	return guarded
}

// forgetServerGuard forgets the guarded transport of one that nothing uses any more.
func forgetServerGuard(key serverGuard) {
	serverGuards.Lock()
	defer serverGuards.Unlock()
	serverGuards.all[key].CloseIdleConnections()
	delete(serverGuards.all, key)
}
