package handstamp

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

const (
	// futilePause is how long nothing is tried after a server has refused a
	// token fresh from a login, nor a renewal after it has refused a token fresh
	// from one.
	futilePause = 30 * time.Second

	// maxAdopted bounds the tokens of other processes that a request is tried
	// with in place of a login.
	maxAdopted = 3

	// maxStepUps bounds the logins for a scope that the server never grants.
	maxStepUps = 2
)

// recovery is how far one request has come on the ladder: another stored token,
// a renewal, a login.
type recovery struct {
	renewals int
	logins   int
	adopted  int // logins that came to a token which another process had stored
}

// recover finds the token with which a refused request is to be sent again. It
// returns nil if there is none and the response is the answer.
func (s *session) recover(ctx context.Context, r *recovery, used *snapshot, resp *http.Response) (*snapshot, error) {
	challenge := oauth.Bearer(resp.Header)
	if resp.StatusCode == http.StatusForbidden {
		if challenge.Error != "insufficient_scope" || s.c.LoginPolicy == LoginNever {
			return nil, nil
		}
		return s.stepUp(ctx, r, used, challenge)
	}
	if s.resigned(r) {
		return nil, nil
	}
	var refused store.Secret
	if used != nil {
		refused = used.token
	}
	if current := s.current.Load(); current != nil && current.token != refused && current.valid(time.Now()) {
		// Another request was here before.
		return current, nil
	}
	if r.logins == 0 && r.renewals < 2 && !s.renewedInVain(refused) {
		r.renewals++
		snap, err := s.renew(ctx, renewal{refused: refused})
		if err == nil && snap != nil && refused != "" {
			s.replacedNow(snap.token) // by another process, perhaps
		}
		if err != nil || snap != nil {
			return snap, err
		}
	}
	rec, err := s.load(ctx)
	switch {
	case err != nil:
		return nil, err
	case usable(rec.Grant, refused, time.Now()):
		return s.publish(rec), nil // another process was here before
	case s.c.LoginPolicy == LoginNever:
		return nil, s.loginRequired(rec)
	case (refused != "" || rec.Grant != nil && rec.Grant.Refused) && rec.Refusal == nil && s.signedInJustNow():
		return nil, nil
	}
	if r.logins++; r.logins > 1 {
		return nil, nil
	}
	before := s.loginCount()
	snap, err := s.login(ctx, loginRequest{challenge: challenge, refused: refused})
	if s.loginCount() == before && r.adopted < maxAdopted {
		// Another process has stored that token, which need not come from a login:
		// what it renewed is of no use either where the server has moved.
		r.adopted++
		r.logins--
	}
	return snap, err
}

// loginCount returns how many logins this process has carried out.
func (s *session) loginCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// resigned reports whether to leave a 401 as it is: the server has refused a
// token that it was given fresh from a login, so that another one would be
// refused as well.
func (s *session) resigned(r *recovery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if r.logins > 0 {
		s.futile = now
		return true
	}
	return now.Sub(s.futile) < futilePause
}

// stepUp signs in for the scope that a request needs beside those that the
// login has (MCP authorization, "Step-Up Authorization Flow"). What the server
// keeps refusing is not asked for for ever.
func (s *session) stepUp(ctx context.Context, r *recovery, used *snapshot, challenge oauth.BearerChallenge) (*snapshot, error) {
	needed := strings.Fields(challenge.Scope)
	if len(needed) == 0 || used == nil {
		return nil, nil
	}
	slices.Sort(needed)
	key := strings.Join(needed, " ")
	s.mu.Lock()
	tried := s.stepUps[key]
	if r.logins++; r.logins > maxStepUps {
		s.unmoved = time.Now()
	}
	rest := time.Since(s.unmoved) < futilePause
	s.mu.Unlock()
	if rest || tried >= maxStepUps {
		return nil, nil
	}
	rec, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	scopes := needed
	if g := rec.Grant; g != nil && g.AccessToken == used.token &&
		containsAll(strings.Fields(g.ScopeRequested), needed) && !containsAll(strings.Fields(g.ScopeGranted), needed) {
		// It was asked for, here or in another process, and not granted: a further
		// tab would end the same. A login that a person asks for may change that.
		return nil, nil
	}
	if rec.Grant != nil {
		scopes = append(strings.Fields(rec.Grant.ScopeRequested), needed...)
	}
	return s.login(ctx, loginRequest{challenge: challenge, scopes: scopes, needed: needed, refused: used.token})
}

// signedInNow notes how a login of this process ended. Of a step-up that many
// requests wait for, it counts one.
func (s *session) signedInNow(rec *store.Record, req loginRequest, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.signIns = [2]time.Time{s.signIns[1], time.Now()}
		s.logins++
	}
	if len(req.needed) == 0 {
		return
	}
	key := strings.Join(req.needed, " ")
	if err == nil && containsAll(strings.Fields(rec.Grant.ScopeGranted), req.needed) {
		delete(s.stepUps, key)
		return
	}
	if s.stepUps == nil {
		s.stepUps = make(map[string]int)
	}
	s.stepUps[key]++
}

// signedInJustNow reports whether this process has signed in twice so lately that
// a token refused now is one that the server refuses fresh from a login. A caller
// that is given a new recovery for each refusal is not to open a tab each time;
// once it may, for a server can change its authorization server between two
// requests.
func (s *session) signedInJustNow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.signIns[0]) < futilePause
}

// replacement is a token that a refused one was renewed to.
type replacement struct {
	token store.Secret
	at    time.Time
}

// replacedNow notes the token that a refused one was renewed to.
func (s *session) replacedNow(token store.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaced = &replacement{token: token, at: time.Now()}
}

// accepted notes that the server took the token, so that a later refusal means
// that its time was over, however short that was.
func (s *session) accepted(token store.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signIns = [2]time.Time{}
	if s.replaced != nil && s.replaced.token == token {
		s.replaced = nil
	}
}

// renewedInVain reports whether the refused token is the fresh replacement of
// another refused one: each further renewal would spend a refresh token for
// nothing.
func (s *session) renewedInVain(refused store.Secret) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replaced != nil && refused == s.replaced.token && time.Since(s.replaced.at) < futilePause
}

func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}
