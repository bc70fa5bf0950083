package bridge

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/sse"
)

const (
	// resumeFailures is how many times in a row a stream that carries an answer
	// is resumed in vain.
	resumeFailures = 6

	firstPause   = time.Second // the reconnection time of the standard's choosing, where the server names none
	longestPause = time.Minute

	// streamPatience is how long the session's own stream is waited for. Some
	// servers answer it only when they have something to say.
	streamPatience = 500 * time.Millisecond
)

// resumption is where a stream can be taken up again (2025-11-25, "Resumability
// and Redelivery").
type resumption struct {
	id       string
	retry    time.Duration // what the server asked for; zero or less: nothing
	failures int
}

// note remembers what a stream has said about its own continuation.
func (r *resumption) note(events *sse.Reader) {
	if id := events.LastID(); id != "" {
		r.id = id
	}
	if d := events.Retry(); d >= 0 {
		r.retry = d
	}
}

// pause returns how long to wait before the next try.
func (r *resumption) pause() time.Duration {
	d := firstPause
	if r.retry > 0 {
		d = r.retry
	}
	d <<= min(r.failures, 8)
	return min(time.Duration(float64(d)*(1+rand.Float64()/10)), longestPause)
}

// resume opens the stream of a request again, after the event that came last.
func (u *upstream) resume(ctx context.Context, r *resumption) (*http.Response, error) {
	for {
		if r.failures > resumeFailures {
			return nil, lost
		}
		if !pause(ctx, r.pause()) {
			return nil, ctx.Err()
		}
		r.failures++
		resp, err := u.get(ctx, r.id)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue
		}
		if resp.StatusCode == http.StatusOK && contentType(resp.Header) == acceptStream {
			return resp, nil
		}
		discard(resp)
		if !later(resp.StatusCode) && resp.StatusCode/100 != 5 {
			return nil, lost
		}
	}
}

// get opens a stream of the session.
func (u *upstream) get(ctx context.Context, lastID string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range u.Header {
		req.Header[name] = values
	}
	req.Header["Accept"] = []string{acceptStream}
	if lastID != "" {
		req.Header[headerLastID] = []string{lastID}
	}
	u.mu.Lock()
	if u.version != "" {
		req.Header[headerVersion] = []string{u.version}
	}
	if u.session != "" {
		req.Header[headerSession] = []string{u.session}
	}
	u.mu.Unlock()
	return u.HTTP.Do(req)
}

// listen opens the session's own stream, on which the server sends what belongs
// to no request, for as long as the session lasts. It waits until that is open:
// what a server wants to send while it is not, some throw away, and a request
// whose tool asks the host something would wait for ever.
func (u *upstream) listen(ctx context.Context) {
	if u.speaksSSE() {
		return
	}
	u.mu.Lock()
	if u.stream != nil {
		u.mu.Unlock()
		return
	}
	life, cancel := context.WithCancel(u.life)
	u.stream = cancel
	round := u.round
	u.mu.Unlock()
	open := make(chan struct{})
	u.do(func() {
		defer cancel()
		u.hear(life, round, sync.OnceFunc(func() { close(open) }))
	})
	timer := time.NewTimer(streamPatience)
	defer timer.Stop()
	select {
	case <-open:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// hear keeps the session's stream open. It calls answered once the server has
// answered.
func (u *upstream) hear(ctx context.Context, round int, answered func()) {
	defer answered()
	var r resumption
	for ctx.Err() == nil {
		resp, err := u.get(ctx, r.id)
		answered()
		switch {
		case err != nil:
			r.failures++
		case resp.StatusCode == http.StatusOK && contentType(resp.Header) == acceptStream:
			err := u.events(u.eventsOf(resp), nil, &r)
			resp.Body.Close()
			if errors.Is(err, sse.ErrTooLarge) {
				u.Logger.Warn("the server sent a message that is too large, which was dropped")
			}
		case resp.StatusCode == http.StatusNotFound:
			discard(resp)
			u.mu.Lock()
			session := u.session
			u.mu.Unlock()
			if session != "" {
				// The new session has a stream of its own.
				u.do(func() { _ = u.renew(u.life, round) })
			}
			return
		case later(resp.StatusCode) || resp.StatusCode/100 == 5:
			discard(resp)
			r.failures++
			if wait, ok := retryAfter(resp.Header); ok {
				r.retry = min(wait, longestPause)
			}
		default:
			discard(resp)
			return // the server offers none: 405, or whatever it says instead
		}
		if !pause(ctx, r.pause()) {
			return
		}
	}
}
