package handstamp

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/secret"
)

const (
	// retryCooldown is how long nothing is tried after a server has rejected a
	// token fresh from a login, nor a refresh after it has rejected a token fresh
	// from one.
	retryCooldown = 30 * time.Second

	// maxSharedTokens bounds the tokens of other processes that a request is tried
	// with in place of a login.
	maxSharedTokens = 3

	// maxStepUps bounds the logins for a scope that the server never grants.
	maxStepUps = 2
)

// retryState is how far one request has come on the ladder: another stored token,
// a refresh, a login.
type retryState struct {
	refreshes    int
	logins       int
	sharedTokens int    // of other processes, that it was sent again with in place of a login
	nonces       int    // sent again for the nonce of a proof
	nonce        string // with which it is sent again next; empty: with the last one that was kept
	waits        int    // before a token that was just issued was sent again

	signedInFor string // how a server wanted the user to sign in for the request (RFC 9470)
}

// reauthorizer finds what a rejected request needs: another token, a refresh, a login.
type reauthorizer struct {
	*credential
	refresher *refresher
	logins    *logins
}

// reauthorize finds the token with which a rejected request is to be sent again. It
// returns nil if there is none and the caller gets the response.
func (a *reauthorizer) reauthorize(ctx context.Context, r *retryState, used *cachedToken, resp *http.Response) (*cachedToken, error) {
	if used.wantsNonce(resp) {
		a.events.report(StepReauthorization, "the MCP server wants its nonce in the proof; the request is sent again")
		return r.forNonce(used, resp), nil
	}
	challenge := a.secrets.challengeOf(resp, used)
	if challenge.Error == insufficientAuthentication && used != nil {
		return a.signInAgain(ctx, r, used, challenge)
	}
	forbidden := resp.StatusCode == http.StatusForbidden
	if !rejectsWholly(resp) {
		return a.stepUp(ctx, r, used, challenge)
	}
	if (tokenProver{a.credential}).awaitFresh(ctx, used, &r.waits) {
		return used, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var rejected secret.String
	if used != nil {
		rejected = used.token
		a.tokens.noteRejection(used)
	}
	if forbidden && (r.refreshes > 0 || a.history.refreshDidNotHelp(rejected)) {
		a.events.report(StepReauthorization,
			"a token fresh from a refresh is as forbidden: the caller gets the response")
		return nil, nil
	}
	if a.history.loginDidNotHelp(r) {
		a.events.report(StepReauthorization,
			"a token fresh from a login was rejected as well: the caller gets the response")
		a.tokens.recordRejection(ctx, used)
		return nil, nil
	}
	if current := a.tokens.current.Load(); current.usable(time.Now()) && current.token != rejected {
		a.events.report(StepReauthorization, "the request is sent again with a newer token of this process")
		return current, nil
	}
	if snap, err := a.refreshRejected(ctx, r, rejected); err != nil || snap != nil {
		if err != nil {
			a.tokens.recordRejection(ctx, used)
		}
		return snap, err
	}
	a.tokens.recordRejection(ctx, used)
	return a.loginAfterRejection(ctx, r, challenge, rejected)
}

// loginAfterRejection signs in where nothing else helped, if the policy allows it and
// the logins before this one did help.
func (a *reauthorizer) loginAfterRejection(ctx context.Context, r *retryState, challenge oauth.BearerChallenge, rejected secret.String) (*cachedToken, error) {
	rec, err := a.records.load(ctx)
	switch {
	case err != nil:
		return nil, err
	case rec.Grant.Usable(rejected, time.Now()):
		a.events.report(StepReauthorization, "the request is sent again with a token that another process has stored")
		return a.tokens.use(rec), nil
	case !a.config.mayLogin(ctx, rec):
		return nil, a.errs.loginRequired(rec)
	case (rejected != "" || rec.Grant != nil && rec.Grant.Rejected) && rec.GrantError == nil && a.history.loggedInTwiceLately():
		return nil, nil
	}
	if r.logins++; r.logins > 1 {
		return nil, nil
	}
	a.events.report(StepReauthorization, "no token at hand works: a login is needed")
	before := a.history.loginCount()
	snap, err := a.logins.login(ctx, loginRequest{challenge: challenge, rejectedToken: rejected})
	if a.history.loginCount() == before && r.sharedTokens < maxSharedTokens {
		// Another process has stored that token, which need not come from a login:
		// a token that it refreshed is of no use either where the server has moved.
		r.sharedTokens++
		r.logins--
	}
	return snap, err
}

// rejectsWholly reports whether a response is about the token itself, and not about a
// scope that it lacks.
func rejectsWholly(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized || rejectsToken(oauth.ParseBearerChallenge(resp.Header))
}

// rejectsToken reports whether a challenge is about the token itself. RFC 6750 section
// 3.1 wants status 401 with it; several servers respond 403.
func rejectsToken(challenge oauth.BearerChallenge) bool {
	codes := []string{"invalid_token", "expired_token", "token_expired", "token_revoked"}
	return slices.Contains(codes, challenge.Error)
}

// refreshRejected replaces a rejected token by another stored one or by a refresh. It
// returns nil where that does not help.
func (a *reauthorizer) refreshRejected(ctx context.Context, r *retryState, rejected secret.String) (*cachedToken, error) {
	if r.logins > 0 || r.refreshes >= 2 || a.history.refreshDidNotHelp(rejected) {
		return nil, nil
	}
	r.refreshes++
	a.events.report(StepReauthorization, "another stored token, or a refresh, is tried")
	snap, err := a.refresher.refresh(ctx, tokenNeed{rejected: rejected})
	if err == nil && snap != nil && rejected != "" {
		a.history.recordReplacement(snap.token) // by another process, perhaps
	}
	return snap, err
}

// insufficientAuthentication is the error of a server that wants the user to sign in another way,
// or once more (RFC 9470, section 3).
const insufficientAuthentication = "insufficient_user_authentication"

// signInAgain has the user sign in as a server wants it for a request. The token at hand stays good
// for others: no refresh would help, and none is made.
func (a *reauthorizer) signInAgain(ctx context.Context, r *retryState, used *cachedToken, challenge oauth.BearerChallenge) (*cachedToken, error) {
	if a.config.Grant != nil {
		return nil, nil
	}
	if shared := a.sharedToken(ctx, r, used); shared != nil {
		return shared, nil
	}
	r.signedInFor = insufficientAuthentication + " " + challenge.ACRValues + " " + challenge.MaxAge
	if !a.history.mayStepUp(r.signedInFor, r) {
		return nil, nil
	}
	if !a.config.mayPrompt(ctx) {
		return nil, &Error{Kind: ErrLoginRequired, Server: a.serverURL, Code: challenge.Error,
			Message: "the server wants the user to sign in again for this request", Hint: "sign in to " + addressOf(a.serverURL)}
	}
	return a.logins.login(ctx, loginRequest{challenge: challenge, signInFor: r.signedInFor, rejectedToken: used.token})
}

// stepUp signs in for the scope that a request needs in addition to those that the
// login has (MCP authorization, "Step-Up Authorization Flow"). What the server
// goes on rejecting is not requested for ever.
func (a *reauthorizer) stepUp(ctx context.Context, r *retryState, used *cachedToken, challenge oauth.BearerChallenge) (*cachedToken, error) {
	needed := missingScopes(used, challenge)
	if len(needed) == 0 {
		return nil, nil
	}
	if shared := a.sharedToken(ctx, r, used); shared != nil {
		return shared, nil
	}
	if !a.config.mayLogin(ctx, nil) || !a.history.mayStepUp(strings.Join(needed, " "), r) {
		return nil, nil
	}
	rec, err := a.records.load(ctx)
	if err != nil {
		return nil, err
	}
	scopes := needed
	if g := rec.Grant; g != nil && g.AccessToken == used.token &&
		containsAll(strings.Fields(g.ScopeRequested), needed) && !containsAll(strings.Fields(g.ScopeGranted), needed) {
		// It was requested, here or in another process, and not granted: a further
		// tab would end the same. [Client.Login] may change that.
		return nil, nil
	}
	if rec.Grant != nil {
		scopes = append(strings.Fields(rec.Grant.ScopeRequested), needed...)
	}
	a.events.report(StepReauthorization, "the request needs more scope: %s", strings.Join(needed, " "))
	return a.logins.login(ctx, loginRequest{challenge: challenge, scopes: scopes, needed: needed, rejectedToken: used.token})
}

// missingScopes returns the scopes that a request needs which was rejected for want of them, sorted;
// nil if it was rejected for another reason.
func missingScopes(used *cachedToken, challenge oauth.BearerChallenge) []string {
	// What is required of bound tokens does not concern a bearer token.
	foreign := challenge.ForDPoP && !used.bound()
	if challenge.Error != "insufficient_scope" || foreign || used == nil {
		return nil
	}
	needed := strings.Fields(challenge.Scope)
	slices.Sort(needed)
	return needed
}

// sharedToken returns a token that was stored since the one that was used, by a login of the user's
// in another process perhaps; nil if there is none.
func (a *reauthorizer) sharedToken(ctx context.Context, r *retryState, used *cachedToken) *cachedToken {
	if r.sharedTokens == maxSharedTokens || used.lookedLately.Load() {
		return nil
	}
	rec, err := a.records.load(ctx)
	if err != nil {
		a.events.fail(StepStore, err, "the store cannot be read")
		return nil
	}
	if !rec.Grant.Usable(used.token, time.Now()) {
		// A server that responds so to everything costs no query for each request.
		used.lookedLately.Store(true)
		time.AfterFunc(lookInterval, func() { used.lookedLately.Store(false) })
		return nil
	}
	r.sharedTokens++
	a.events.report(StepReauthorization, "the request is sent again with a token that another process has stored")
	return a.tokens.use(rec)
}

func containsAll(have, want []string) bool {
	return len(oauth.Without(want, have)) == 0
}
