package bridge

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/handstamp/handstamp/internal/retryafter"
	"github.com/handstamp/handstamp/internal/sse"
)

const (
	// firstPause is the shortest time between two tries to open a stream, whatever the server
	// wishes, and longestPause the longest that grows by itself. longestWish is the longest
	// reconnection time of a server's that is kept.
	firstPause    = time.Second
	longestPause  = time.Minute
	longestWanted = 10 * time.Minute

	// longLived is how long a stream has to stay open for its end to be no failure.
	longLived = 5 * time.Second

	// streamFailures is how often in a row the session's stream is tried without success.
	streamFailures = 6

	// streamWait is how long the session's own stream is waited for. Some
	// servers respond only when they have something to send.
	streamWait = 500 * time.Millisecond

	// aliveTimeout bounds the ping that finds out whether a session outlives its stream.
	aliveTimeout = 30 * time.Second
)

// resumption is where a stream can be taken up again (2025-11-25, "Resumability
// and Redelivery"), and when.
type resumption struct {
	id       string
	retry    time.Duration // the server's reconnection time; zero or less: it named none
	wait     time.Duration // its Retry-After, for the next try
	failures int           // tries in a row that brought nothing

	// onEvent is called with each message, which may be a repeated one, and with each new id. It
	// may be nil.
	onEvent func(again bool)
}

// note remembers what a stream has sent about its own continuation.
func (r *resumption) note(events *sse.Reader) {
	if id := events.LastID(); id != "" && id != r.id {
		r.id = id
		if r.onEvent != nil {
			r.onEvent(false)
		}
	}
	if d := events.Retry(); d >= 0 {
		r.retry = d
	}
}

// brought notes that a message has come.
func (r *resumption) received() {
	r.failures = 0
	if r.onEvent != nil {
		r.onEvent(true)
	}
}

// ended counts a stream that ended as a failure, unless it lived for a while or brought
// messages.
func (r *resumption) ended(lived time.Duration, messages int) {
	if messages > 0 || lived >= longLived {
		r.failures = 0
		return
	}
	r.failures++
}

// rejected counts a try that the server rejected.
func (r *resumption) rejected(h http.Header) {
	r.failures++
	r.wait, _ = retryafter.Parse(h, time.Now())
}

// pause returns how long to wait before the next try: a time that grows with each failure,
// and at least what the server wishes.
func (r *resumption) pause() time.Duration {
	d := max(min(firstPause<<min(r.failures, 8), longestPause), r.wanted())
	r.wait = 0
	return time.Duration(float64(d) * (1 + rand.Float64()/10))
}

// wish returns how long the server wants the next try to wait.
func (r *resumption) wanted() time.Duration { return min(max(r.retry, r.wait), longestWanted) }

// errNotResumed reports that the stream of a request cannot be resumed.
var errNotResumed = errors.New("bridge: the request's stream cannot be resumed")

// resume opens the stream of a request again, after the event that came last. It tries for
// as long as a response may be late without a stream, and at least once, on the stream's own
// session: on one that has replaced it the server would open that one's stream.
func (u *upstream) resume(
	ctx context.Context, sent *sending, r *resumption, session string,
) (*http.Response, error) {
	until := time.Now().Add(reopenWait)
	for try := 0; ; try++ {
		wish, d := r.wanted(), r.pause()
		if rest := time.Until(until); try > 0 && d > rest {
			if d = rest; d < max(wish, firstPause) {
				return nil, errNotResumed
			}
		}
		if d > lateWait {
			return nil, errNotResumed
		}
		if !pause(ctx, d) {
			return nil, ctx.Err()
		}
		resp, err := u.get(sent.begin(ctx), session, r.id)
		sent.accept() // whatever came of it, the server goes on with the request
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			r.failures++
			continue
		case resp.StatusCode == http.StatusOK && contentType(resp.Header) == acceptStream:
			return resp, nil
		}
		discard(resp)
		if !notNow(resp.StatusCode) {
			return nil, errNotResumed
		}
		r.rejected(resp.Header)
	}
}

// get opens a stream of a session; empty: of none.
func (u *upstream) get(ctx context.Context, session, lastID string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL, nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, u.Header)
	req.Header["Accept"] = []string{acceptStream}
	if lastID != "" {
		req.Header[headerLastID] = []string{lastID}
	}
	_, version := u.currentSession()
	nameSession(req.Header, session, version)
	return u.HTTP.Do(req)
}
