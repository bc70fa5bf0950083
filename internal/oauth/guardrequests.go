package oauth

import (
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
)

// GuardRequests returns a RoundTripper that sends requests by base, as far as they go to addresses
// that reach allows. Names and literal addresses are checked before base has the request. How base
// connects is its own business, but where it is made of a transport of net/http, as those are that
// add logs or traces, a connection to another address is closed before the request is written to
// it.
func GuardRequests(base http.RoundTripper, reach func(host string) Reach) http.RoundTripper {
	proxy := http.ProxyFromEnvironment
	if t, ok := base.(interface{ Standard() *http.Transport }); ok && t.Standard() != nil {
		proxy = t.Standard().Proxy
	}
	return &guardedRequests{guard{reach: reach, proxy: proxy}, base}
}

type guardedRequests struct {
	guard guard
	base  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (g *guardedRequests) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Hostname()
	reach := g.guard.reachOf(host)
	if err := checkHost(host, reach); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	proxy := g.proxyOf(req)
	var toProxy atomic.Bool
	var blocked atomic.Pointer[BlockedError]
	sent := req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GetConn: func(hostPort string) { toProxy.Store(strings.EqualFold(hostPort, proxy)) },
		GotConn: func(info httptrace.GotConnInfo) {
			remote, ok := info.Conn.RemoteAddr().(*net.TCPAddr)
			if ok && !toProxy.Load() && AddrReach(remote.AddrPort().Addr().Unmap()) > reach {
				blocked.Store(&BlockedError{Host: host, Address: remote.String()})
				_ = info.Conn.Close()
			}
		},
	}))
	resp, err := g.base.RoundTrip(sent)
	if b := blocked.Load(); b != nil {
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, b
	}
	if err == nil && resp.Request == sent {
		resp.Request = req
	}
	return resp, err
}

// proxyOf returns the address of the proxy that a request goes through; "" if there is none.
func (g *guardedRequests) proxyOf(req *http.Request) string {
	var proxy *url.URL
	if g.guard.proxy != nil {
		proxy, _ = g.guard.proxy(req)
	}
	if proxy == nil {
		return ""
	}
	return proxyAddress(proxy)
}
