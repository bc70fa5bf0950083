package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/handstamp/handstamp/internal/errtype"
)

// maxConnections bounds the lines about connections.
const maxConnections = 24

// connections notes how the connections of an inspection came about. It is safe for concurrent
// use.
type connections struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

// trace returns a context whose requests are noted.
func (c *connections) trace(ctx context.Context) context.Context {
	var host atomic.Value // of the last look-up; they follow each other, unless one was given up
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(info httptrace.DNSStartInfo) { host.Store(info.Host) },
		DNSDone: func(info httptrace.DNSDoneInfo) {
			if failed, ok := errtype.As[*net.DNSError](info.Err); ok {
				c.add("DNS: %s has no address", failed.Name)
			}
			if info.Err != nil {
				return
			}
			var addresses []string
			for _, a := range info.Addrs {
				addresses = append(addresses, a.String())
			}
			c.add("DNS: %s is %s", host.Load(), strings.Join(addresses, ", "))
		},
		ConnectDone: func(_, addr string, err error) {
			if err != nil {
				c.add("TCP: no connection to %s", addr)
				return
			}
			c.add("TCP: connected to %s", addr)
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			if err != nil || len(state.PeerCertificates) == 0 {
				return // the error of the request says it
			}
			leaf := state.PeerCertificates[0]
			c.add("%s with %s, certificate of %s until %s", tls.VersionName(state.Version), state.ServerName,
				leaf.Issuer.CommonName, leaf.NotAfter.Format("2006-01-02"))
		},
	})
}

func (c *connections) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	if len(c.lines) < maxConnections && !slices.Contains(c.lines, line) {
		c.lines = append(c.lines, line)
	}
}

func (c *connections) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}
