package bridge_test

import (
	"crypto/tls"
	"net/http"
	"sync"
	"testing"
	"time"
)

// pacer measures what an exchange on a new connection takes on this machine, which other programs
// may keep busy: bounds on time grow with it.
type pacer struct {
	mu    sync.Mutex // guards what follows
	began time.Time  // of the exchange under way; zero: none
	past  []exchanged
}

type exchanged struct {
	ended time.Time
	took  time.Duration
}

// pace is that of the network in which this process runs.
var pace pacer

// perExchange is how many exchanges a bounded step may be made of: a session, and a call on it.
const perExchange = 8

// measure makes one exchange after the other until the test ends.
func (p *pacer) measure(t *testing.T, url string) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	go func() {
		defer close(stopped)
		for {
			p.exchange(t, transport, url)
			select {
			case <-time.After(500 * time.Millisecond):
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
}

func (p *pacer) exchange(t *testing.T, transport *http.Transport, url string) {
	began := time.Now()
	p.mu.Lock()
	p.began = began
	p.mu.Unlock()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = transport.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
	}
	if err != nil && t.Context().Err() == nil {
		t.Errorf("an exchange on a connection that works: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = time.Time{}
	p.past = append(p.past, exchanged{time.Now(), time.Since(began)})
}

// extra returns how much longer than on an idle machine may take what began at a time.
func (p *pacer) extra(since time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var longest time.Duration
	if !p.began.IsZero() {
		longest = time.Since(p.began)
	}
	for _, e := range p.past {
		if e.ended.After(since) {
			longest = max(longest, e.took)
		}
	}
	return perExchange * longest
}

// bound returns a channel that is closed when what begins now should have happened, as busy as
// the machine may be meanwhile.
func (p *pacer) bound(d time.Duration) (over <-chan struct{}, stop func()) {
	began := time.Now()
	closed, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		for {
			rest := d + p.extra(began) - time.Since(began)
			if rest <= 0 {
				close(closed)
				return
			}
			select {
			case <-time.After(rest):
			case <-stopped:
				return
			}
		}
	}()
	return closed, func() { close(stopped) }
}
