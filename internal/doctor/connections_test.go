package doctor

import (
	"context"
	"net"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestLookUpsBesideEachOther has a look-up that was given up end while the next one is under way:
// what failed is named, whatever was begun since.
func TestLookUpsBesideEachOther(t *testing.T) {
	c := new(connections)
	trace := httptrace.ContextClientTrace(c.trace(context.Background()))
	trace.DNSStart(httptrace.DNSStartInfo{Host: "slow.example"})
	trace.DNSStart(httptrace.DNSStartInfo{Host: "next.example"})
	trace.DNSDone(httptrace.DNSDoneInfo{Err: &net.DNSError{Name: "slow.example", Err: "no such host"}})
	trace.DNSDone(httptrace.DNSDoneInfo{Addrs: []net.IPAddr{{IP: net.IPv4(192, 0, 2, 1)}}})
	want := []string{"DNS: slow.example has no address", "DNS: next.example is 192.0.2.1"}
	if got := c.all(); !slices.Equal(got, want) {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			trace.DNSStart(httptrace.DNSStartInfo{Host: "next.example"})
			trace.DNSDone(httptrace.DNSDoneInfo{})
		})
	}
	both.Wait()
}
