package oauth

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"unsafe"
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// callersDial returns the dial function that a caller gave a transport of their own; nil
// if it has none, or only that of http.DefaultTransport.
func callersDial(base *http.Transport) dialFunc {
	standard, _ := http.DefaultTransport.(*http.Transport)
	if base.DialContext == nil || standard != nil &&
		sameFunc(base.DialContext, standard.DialContext) {
		return nil
	}
	return base.DialContext
}

// sameFunc reports whether two functions are one and the same value, also where they
// share their code with others: the DialContext methods of two net.Dialers do.
func sameFunc(a, b dialFunc) bool {
	return *(*unsafe.Pointer)(unsafe.Pointer(&a)) == *(*unsafe.Pointer)(unsafe.Pointer(&b))
}

// dialByCaller connects with the caller's dial function, which may connect a name to any place: a
// tunnel, a socket, a test server. It must not follow a name that resolves to an address that is
// not public, since a hostile server controls what its name resolves to. So a connection to such
// an address is closed before anything is written to it, if the name was looked up by DNS.
func (g *guard) dialByCaller(ctx context.Context, network, address, host string,
	reach Reach) (net.Conn, error) {
	var traced, lookedUp atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(info httptrace.DNSStartInfo) {
			if strings.EqualFold(strings.TrimSuffix(info.Host, "."), strings.TrimSuffix(host, ".")) {
				lookedUp.Store(true)
			}
		},
		ConnectStart: func(string, string) { traced.Store(true) },
	})
	conn, err := g.base(ctx, network, address)
	if err != nil {
		return nil, err
	}
	remote, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || AddrReach(remote.AddrPort().Addr().Unmap()) <= reach {
		return conn, nil
	}
	// A function that does not pass the context on may have looked the name up unseen.
	if lookedUp.Load() || !traced.Load() && leadsBeyond(ctx, host, reach) {
		_ = conn.Close()
		return nil, &BlockedError{Host: host, Address: remote.String()}
	}
	return conn, nil
}

// leadsBeyond reports whether a name has an address that is out of reach.
func leadsBeyond(ctx context.Context, host string, reach Reach) bool {
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false
	}
	for _, address := range addresses {
		if AddrReach(address.Unmap()) > reach {
			return true
		}
	}
	return false
}
