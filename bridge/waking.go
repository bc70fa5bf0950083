package bridge

import (
	"context"
	"net/http"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

const (
	// initializeWait is how long a host's initialize waits for the server. Hosts wait
	// between 5 s (Claude Code, opencode) and 60 s for the response.
	initializeWait = 4 * time.Second

	// firstWakingPause and longestWakingPause are the pauses between two tries to reach
	// a server that is not there yet while the host waits for the first response.
	firstWakingPause   = 250 * time.Millisecond
	longestWakingPause = time.Second
)

// probeWait returns how long a host's server/discover waits for the server: half as long
// as its initialize, which follows where the probe comes to nothing. Negative: for as
// long as it takes.
func (o *Options) probeWait() time.Duration {
	if o.InitializeWait < 0 {
		return o.InitializeWait
	}
	return o.InitializeWait / 2
}

// initializeWait returns how long a host's initialize waits for the server: with the probe
// before it no longer than InitializeWait, as some hosts bound both together.
func (e *eras) initializeWait() time.Duration {
	if e.InitializeWait < 0 {
		return e.InitializeWait
	}
	probed := e.now().probed
	if probed.IsZero() {
		return e.InitializeWait
	}
	return max(e.InitializeWait-time.Since(probed), e.InitializeWait/2)
}

// probes reports whether a request that was just read is a probe of a server of which
// nothing is known. An initialize that overtakes it does not change that.
func (e *eras) probes(m *message) bool {
	if !m.is("server/discover") {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known.probed.IsZero() {
		e.known.probed = time.Now()
	}
	return e.known.hello == nil && e.known.server == unknownEra
}

// contactResult is what a host's first request meets first.
type contactResult int

const (
	serverResponded contactResult = iota // or failed
	userAwaited
	waitOver
	callOver // the host does not wait any more
)

// waitForContact waits for a first contact on behalf of a request, no longer than limit. A
// negative limit is none.
func (r *placeholder) waitForContact(c *call, f *firstContact, limit time.Duration) contactResult {
	select {
	case <-f.done:
		return serverResponded
	default:
	}
	select {
	case <-f.done:
		return serverResponded
	case <-r.User.awaiting():
		return userAwaited
	case <-timeAfter(limit):
		return waitOver
	case <-c.ctx.Done():
		return callOver
	}
}

// connectPatiently begins a session and, where the server is not there yet, tries again until the
// host's initialize has waited for long enough.
func (e *eras) connectPatiently(ctx context.Context) (*message, error) {
	began, limit := time.Now(), e.initializeWait()
	for try := 0; ; try++ {
		response, err := e.connect(ctx)
		if !unreachableYet(err) {
			return response, err
		}
		wait := min(firstWakingPause<<min(try, 8), longestWakingPause)
		if time.Since(began)+wait > limit || !pause(ctx, wait) {
			return response, err
		}
	}
}

// unreachableYet reports whether an error of a first contact is that of a server which is
// starting, restarting, or out of reach for a while. Nothing is lost by another
// initialize then.
func unreachableYet(err error) bool {
	if rejected, ok := errtype.As[*rejection](err); ok {
		switch status := rejected.status; {
		case rejected.body != nil && rejected.body.id != nil: // it is there, and that is its response
			return false
		case status == http.StatusInternalServerError, status == http.StatusNotImplemented:
			return false
		default:
			return later(status) || status/100 == 5
		}
	}
	t, ok := errtype.As[*Trouble](err)
	return ok && (t.Retry || t.Reason == lost.Reason)
}
