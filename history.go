package handstamp

import (
	"strings"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// history is what this process remembers of its latest attempts at one server, so
// that it does not at once repeat one that did not help. None of it is stored:
// another process may have better luck. Its methods may be called concurrently.
type history struct {
	mu             sync.Mutex // guards the fields below
	loginFailedAt  time.Time  // when a server last rejected a token fresh from a login
	declined       error      // how the last login ended that the user denied or did not complete
	declinedAt     time.Time
	stepUps        map[string]int // step-ups that did not help, by what was wanted
	stepUpFailedAt time.Time      // when a server last rejected a request after all its step-ups
	lastLogins     [2]time.Time   // the last two logins, the older one first, since a token of them worked
	replaced       *replacement   // the token that last replaced a rejected one
	logins         int            // that this process has carried out
	before         *record.Record // what the last of them has replaced; nil once that is accepted
	beforeUntil    secret.String  // the access token that has replaced it
	unmade         error          // why the last refresh could not be requested
	unmadeUntil    time.Time      // when the next one is
}

// declinedLogin returns how the last login ended, if that was a moment ago and
// another one would end the same.
func (h *history) declinedLogin() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.declined != nil && time.Since(h.declinedAt) < declinedCooldown {
		return h.declined
	}
	return nil
}

// recordLoginEnd notes how a login ended.
func (h *history) recordLoginEnd(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.declined, h.declinedAt = nil, time.Now()
	if suppressesRelogin(err) {
		h.declined = err
	}
}

// mayStepUp counts a step-up of one request for a scope, and reports whether it
// is worth asking the user.
func (h *history) mayStepUp(scope string, r *retryState) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.logins++; r.logins > maxStepUps {
		h.stepUpFailedAt = time.Now()
	}
	return time.Since(h.stepUpFailedAt) >= retryCooldown && h.stepUps[scope] < maxStepUps
}

// loginCount returns how many logins this process has carried out.
func (h *history) loginCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.logins
}

// loginDidNotHelp reports whether to leave a 401 as it is: the server has rejected a
// token that it was given fresh from a login, so that another one would be
// rejected as well.
func (h *history) loginDidNotHelp(r *retryState) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if r.logins > 0 {
		h.loginFailedAt = now
		return true
	}
	return now.Sub(h.loginFailedAt) < retryCooldown
}

// recordLogin notes how a login of this process ended. Of a step-up that many
// requests wait for, it counts one.
func (h *history) recordLogin(rec *record.Record, req loginRequest, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.lastLogins = [2]time.Time{h.lastLogins[1], time.Now()}
		h.logins++
	}
	if h.stepUps == nil {
		h.stepUps = make(map[string]int)
	}
	if err == nil && req.signInFor != "" {
		h.stepUps[req.signInFor]++ // until a request shows that it helped
	}
	if len(req.needed) == 0 {
		return
	}
	key := strings.Join(req.needed, " ")
	if err == nil && containsAll(strings.Fields(rec.Grant.ScopeGranted), req.needed) {
		delete(h.stepUps, key)
		return
	}
	h.stepUps[key]++
}

// loggedInTwiceLately reports whether this process has signed in twice so lately that
// a token rejected now is one that the server rejects fresh from a login. A caller
// that is given a new retryState for each rejection is not to open a tab each time;
// once it may, for a server can change its authorization server between two
// requests.
func (h *history) loggedInTwiceLately() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.lastLogins[0]) < retryCooldown
}

// replacement is a token that a rejected one was refreshed to.
type replacement struct {
	token secret.String
	at    time.Time
}

// recordReplacement notes the token that a rejected one was refreshed to.
func (h *history) recordReplacement(token secret.String) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.replaced = &replacement{token: token, at: time.Now()}
}

// recordAccepted notes that the server took the token, so that a later rejection means
// that its time was over, however short that was.
func (h *history) recordAccepted(token secret.String) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastLogins = [2]time.Time{}
	if h.replaced != nil && h.replaced.token == token {
		h.replaced = nil
	}
	if h.beforeUntil == token {
		h.before = nil
	}
}

// recordContent notes that the server is content with how the user signed in for it, so that the
// user may be wanted in that way again.
func (h *history) recordContent(signedInFor string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.stepUps, signedInFor)
}

// refreshDidNotHelp reports whether the rejected token is the fresh replacement of
// another rejected one: each further refresh would use a refresh token for
// nothing.
func (h *history) refreshDidNotHelp(rejected secret.String) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.replaced != nil && rejected == h.replaced.token && time.Since(h.replaced.at) < retryCooldown
}

// recordReplaced notes the record that a login of this process has replaced with an access token.
func (h *history) recordReplaced(before *record.Record, by secret.String) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before, h.beforeUntil = before, by
}

// takeReplaced returns the record that the last login of this process has replaced, if it was with
// this access token, and forgets it; else nil.
func (h *history) takeReplaced(by secret.String) *record.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.beforeUntil != by {
		return nil
	}
	before := h.before
	h.before = nil
	return before
}

// recordUnmade notes why a refresh could not be requested, and that none is for a while: each costs
// writes to the store, and a signature of a key that is elsewhere.
func (h *history) recordUnmade(cause error, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unmade, h.unmadeUntil = cause, time.Now().Add(wait)
}

// unmadeLately returns why no refresh can be requested; nil if one may be tried.
func (h *history) unmadeLately() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Now().Before(h.unmadeUntil) {
		return h.unmade
	}
	return nil
}
