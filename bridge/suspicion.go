package bridge

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// A server that has forgotten a session has to respond with 404 ("Session
// Management" of the revisions before 2026-07-28). Many respond with something else, and with
// the same where the session is well: such a rejection is a suspicion, which one
// ping on the same session decides.

const (
	// replacementInterval is how long a session is not replaced again for a rejection
	// that the replacement before did not end.
	replacementInterval = 30 * time.Second

	// suspicionTimeout bounds the wait for the response to the ping.
	suspicionTimeout = 10 * time.Second
)

// errTooSoon reports that a session is not replaced, because that did not help a moment
// ago.
var errTooSoon = errors.New("bridge: the session was replaced a moment ago, which did not help")

// shape is what rejections for one reason have in common.
type shape struct {
	status int
	code   int // of a JSON-RPC error; zero: none
}

func (r *rejection) shape() shape { return shape{r.status, r.code()} }

// sessionSign is what a rejection means for the session that it came on.
type sessionSign int

const (
	sessionUnknown  sessionSign = iota // nothing: it is the request's error
	sessionDoubtful                    // perhaps the server has forgotten it
	sessionOver                        // the server has forgotten it
)

// sessionSign returns what a rejection of a message means for its session.
func (r *rejection) sessionSign(c *call) sessionSign {
	if r.atGET || c.plain || c.is("initialize") || modernVersion(c.message) != "" ||
		r.respondsTo(c.message) {
		return sessionUnknown
	}
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return sessionUnknown
	}
	if r.tied && r.shape().definite() {
		return sessionOver
	}
	return sessionDoubtful
}

// respondsTo reports whether a rejection's body is the response to a message: some
// servers send responses under another status than 200.
func (r *rejection) respondsTo(m *message) bool {
	return r.body != nil && !m.batch && m.id != nil && sameID(r.body.id, m.id)
}

// rejects reports whether an error is a rejection.
func rejects(err error) bool {
	_, ok := errtype.As[*rejection](err)
	return ok
}

// awaited reports whether a response with an id is waited for.
func (b *bridge) awaited(id []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := idKey(id)
	return b.calls[key] != nil || b.owned[key] != nil
}

// withReplacement sends a request, and once more on a new session if the server has forgotten
// the one that it was sent on. try sends it and returns the round of its session.
func (u *upstream) withReplacement(c *call, try func() (round int, err error)) error {
	if c.plain || modernVersion(c.message) != "" {
		_, err := try()
		return err
	}
	round, err := try()
	rejected, ok := errtype.As[*rejection](err)
	if !ok {
		return err
	}
	c.sent.accepted.Store(false)
	if !u.forgotten(c, round, rejected) {
		return err
	}
	switch rerr := u.replace(c.ctx, round, rejected.shape(), c.name()); {
	case errors.Is(rerr, errTooSoon):
		return err
	case rerr != nil:
		return rerr
	}
	_, err = try()
	u.helped(c, rejected.shape(), err)
	return err
}

// forgotten reports whether the server has forgotten the session of a round on which
// it has rejected a message.
func (u *upstream) forgotten(c *call, round int, r *rejection) bool {
	sign := r.sessionSign(c)
	if sign == sessionUnknown || !u.established() {
		return false
	}
	sse := u.speaksSSE() // whose sessions have no id, but end with their stream
	u.mu.Lock()
	current := u.round == round && u.replacement == nil
	soon, bare := u.tooSoon(r.shape()), u.session == "" && !sse
	u.mu.Unlock()
	switch {
	case !current:
		return true // it has been replaced, or is being so
	case soon:
		return false
	}
	return sign == sessionOver || bare && r.uninitialized() || u.inquire(c.ctx, round, r.shape())
}

// uninitialized reports whether the server has rejected a request as invalid, in words about
// initialize. Without a session, a ping finds nothing out then: the specification allows one
// before initialize.
func (r *rejection) uninitialized() bool {
	switch r.status {
	case http.StatusOK, http.StatusBadRequest, http.StatusUnprocessableEntity:
	default:
		return false
	}
	words := strings.ToLower(r.Message)
	return strings.Contains(words, "initializ") || strings.Contains(words, "initialis")
}

// inquiry is a ping that finds out whether a session is still there, for all requests
// that were rejected on it in the same way.
type inquiry struct {
	done chan struct{}
	over bool
}

// inquire reports whether the session of a round has ended. What is known to have ended
// stays so until the session is replaced.
func (u *upstream) inquire(ctx context.Context, round int, s shape) bool {
	u.mu.Lock()
	if u.round != round || u.replacement != nil {
		u.mu.Unlock()
		return true // it has been replaced meanwhile
	}
	q := u.inquiries[s]
	if q == nil {
		q = &inquiry{done: make(chan struct{})}
		u.inquiries[s] = q
		u.do(func() {
			q.over = u.pingRejected(round, s)
			u.mu.Lock()
			if !q.over && u.round == round {
				delete(u.inquiries, s)
			}
			u.mu.Unlock()
			close(q.done)
		})
	}
	u.mu.Unlock()
	return wait(ctx, q.done) == nil && q.over
}

// pingRejected sends a ping on the session of a round and reports whether it is rejected in a
// way that means that the session has ended: as the message before, or definitely.
func (u *upstream) pingRejected(round int, s shape) bool {
	ctx, cancel := context.WithTimeout(u.background(u.life), suspicionTimeout)
	defer cancel()
	m, err := parse(u.newRequest("ping"))
	if err != nil {
		return false
	}
	c := u.own(ctx, m)
	defer c.cancel()
	c.plain, c.hasty = true, true
	at, err := u.attempt(c)
	rejected, ok := errtype.As[*rejection](err)
	switch {
	case at != round:
		return true // it was replaced meanwhile
	case !ok || rejected.respondsTo(m):
		u.Logger.Debug("a rejected request did not end the session", "status", s.status, "err", err)
		return false
	}
	u.Logger.Debug("a ping was rejected, too", "status", rejected.status, "code", rejected.code())
	return rejected.tied && rejected.shape().definite() || rejected.shape() == s
}

// unhelpful counts the replacements for rejections of a shape that have not helped.
type unhelpful struct {
	since  time.Time
	times  int
	method string // of the message that was rejected
}

// tooSoon reports whether sessions were replaced a moment ago for rejections of a shape,
// which did not help. Where the server responds by the rules that a session has ended and has
// taken messages on it before that, another one is tried. The caller holds mu.
func (u *upstream) tooSoon(s shape) bool {
	v, ok := u.unhelpful[s]
	if !ok || time.Since(v.since) >= replacementInterval {
		return false
	}
	return !s.definite() || !u.acceptedAny || v.times > 1
}

// definite reports whether a rejection of a session means by the rules that it has ended.
func (s shape) definite() bool {
	return s.status == http.StatusNotFound || s.status == http.StatusGone
}

// replacedFor notes that a session was replaced for a rejection of a message. The caller
// holds mu.
func (u *upstream) replacedFor(s shape, method string) {
	v := u.unhelpful[s]
	if time.Since(v.since) >= replacementInterval {
		v = unhelpful{since: time.Now()}
	}
	v.times++
	v.method = method
	u.unhelpful[s] = v
}

// helped notes what came of a request that was sent again on a new session. Unless that
// was rejected like a session that has ended, the next loss of a session is another one.
func (u *upstream) helped(c *call, s shape, err error) {
	if rejected, ok := errtype.As[*rejection](err); ok && rejected.sessionSign(c) != sessionUnknown {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.unhelpful[s].method == c.name() {
		delete(u.unhelpful, s)
	}
}
