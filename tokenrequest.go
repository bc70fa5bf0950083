package handstamp

import (
	"cmp"
	"context"
	"math"
	mrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

const (
	maxTries     = 3 // token requests while a server fails for a moment
	firstBackoff = 300 * time.Millisecond
	maxRetryWait = 2 * time.Second // a longer Retry-After is left to a later request
)

// repetition is when the same grant may be sent to the token endpoint again.
type repetition int

const (
	sendOnce          repetition = iota // only in another form of authentication
	sendUntilReceived                   // until the server may have received it: a code is good for one request
	sendUntilResponse                   // also after a lost response: the caller is the only sender
)

// tokenGrant describes a grant to the token endpoint (RFC 6749, section 4): what is sent, by
// which client, and what of it may be changed when the server rejects it.
type tokenGrant struct {
	redeem   oauth.TokenRequest // the grant, and what else stays the same
	client   *record.Client
	algs     []string // JWS algorithms that the server takes of assertions
	form     authForm
	next     []authForm // the forms to try, each once, if the server rejects the client
	resource record.Resource
	scope    string // "": none is named
	repeat   repetition
	patient  bool // a server that fails is left alone at once: a later request is as good

	// optionalResource has the request repeated without the resource parameter if the server
	// rejects that. A code is bound to it (RFC 8707, section 2.2).
	optionalResource bool

	// grantedScope is what to name if the server wants a scope with a refresh; "" is never.
	grantedScope string

	// received gets every response with status 2xx before it is interpreted; it may be nil.
	received func(*oauth.RawResponse)

	// final reports whether a rejection ends the request although another form of authentication
	// is left; it may be nil.
	final func(*oauth.Error) bool

	// metadata reads the server's metadata again where the token endpoint is not there any more;
	// nil leaves it alone.
	metadata func(context.Context) (*oauth.ServerMetadata, error)
}

// tokenRequest is the one way to the token endpoint: it sends a grant until the response counts.
// Its fields are then what worked, or what was tried last.
type tokenRequest struct {
	tokenGrant
	*credential

	sent     int           // requests so far
	inDoubt  bool          // the server may have acted on a request whose response was lost or is unusable
	replayed bool          // the grant was sent again while in doubt
	wait     time.Duration // how long the server wants to be left alone, after an error
	clock    time.Duration // by how much the server's clock is ahead

	firstForm    *oauth.Error         // why the form that the client prefers was rejected
	rescoped     bool                 // the scope was named, or left out, the other way before
	metadataRead bool                 // again, because the endpoint was not there
	partial      *oauth.TokenResponse // a response cut off after the access token
	partialAt    time.Time
}

// run sends the grant until a response counts or the server has failed for too long. The token may
// come with an error: a refresh token beside an access token that cannot be used. Without a token
// the error is an [oauth.Error] where the server rejects the request, or another of that package.
func (t *tokenRequest) run(ctx context.Context) (*oauth.TokenResponse, time.Time, error) {
	for try := 1; ; {
		token, at, err := t.send(ctx)
		switch {
		case t.repeatsPartial(token, at):
			continue
		case token != nil:
			return token, at, err
		case t.partial != nil: // the repetition brought nothing; the access token is something
			return t.partial, t.partialAt, nil
		case t.repeatsLost(err), t.adjust(ctx, err):
			continue
		}
		if rejected, ok := errtype.As[*oauth.Error](err); ok && rejected.Class() != oauth.ClassTransient {
			return nil, at, t.reason(rejected)
		}
		again := t.noteFailure(err, try)
		if try++; !again || t.patient || try > maxTries || t.wait > maxRetryWait || sleep(ctx, t.wait) != nil {
			return nil, at, err
		}
		t.events.report(StepToken, "the request is sent again, after a wait of %v", t.wait.Round(time.Millisecond))
	}
}

// reason returns the rejection to report: where every form of a client assertion was rejected, that
// of the first one, which is right at all but old servers.
func (t *tokenRequest) reason(rejected *oauth.Error) *oauth.Error {
	if t.firstForm != nil && t.form.forEndpoint && rejected.Class() == t.firstForm.Class() {
		return t.firstForm
	}
	return rejected
}

// send sends the request once. How the client authenticates is made here, for every grant.
func (t *tokenRequest) send(ctx context.Context) (*oauth.TokenResponse, time.Time, error) {
	request := t.redeem
	if request.Client = oauth.Authenticator(oauth.Anonymous{}); t.client.ID != "" {
		request.Client = t.config.credentials(t.form, t.client, t.redeem.Endpoint, t.redeem.Endpoint, t.algs)
	}
	request.Resource = t.resource.Param()
	request.Scope = t.scope
	t.sent++
	raw, err := t.fetcher.PostToken(ctx, request)
	if err != nil {
		return nil, time.Time{}, err
	}
	if t.received != nil && raw.Status/100 == 2 {
		t.received(raw)
	}
	t.clock = raw.ClockDifference()
	token, err := oauth.ParseTokenResponse(raw)
	return token, raw.ReceivedAt, err
}

// repeatsPartial reports whether to send the grant again because the refresh token may have been
// in the part of the response that was lost.
func (t *tokenRequest) repeatsPartial(token *oauth.TokenResponse, at time.Time) bool {
	if t.repeat != sendUntilResponse || t.replayed || token == nil || !token.Partial || token.RefreshToken != "" {
		return false
	}
	t.partial, t.partialAt = token, at
	t.inDoubt, t.replayed = true, true
	return true
}

// repeatsLost reports whether to send the grant again, once, because its response was lost. If
// the server did not see the grant, this succeeds; if it did and accepts a repetition, too;
// otherwise nothing is lost that was not lost already, for no process holds the new tokens.
func (t *tokenRequest) repeatsLost(err error) bool {
	lost, ok := errtype.As[*oauth.SendError](err)
	if t.repeat != sendUntilResponse || t.replayed || !ok || !lost.Sent {
		return false
	}
	t.inDoubt, t.replayed = true, true
	return true
}

// adjust changes the request if the error is about something that can be changed.
func (t *tokenRequest) adjust(ctx context.Context, err error) bool {
	rejected, ok := errtype.As[*oauth.Error](err)
	if ok && t.final != nil && t.final(rejected) {
		return false
	}
	return ok && (t.prove(rejected) || t.omitResource(rejected) || t.nameScope(rejected)) || t.nextForm(err) || t.moved(ctx, err)
}

// prove requests tokens that are bound to a key, if the server rejects others (RFC 9449, section
// 5.2, dpop_bound_access_tokens).
func (t *tokenRequest) prove(rejected *oauth.Error) bool {
	if t.redeem.Prover != nil || t.config.DPoP == DPoPNever || !rejected.WantsProof() {
		return false
	}
	t.redeem.Prover = t.proofs
	t.events.decide(StepToken, aboutTokens, "DPoP", "the authorization server requires a proof")
	return true
}

// omitResource leaves the resource parameter out, if the rejection is about it.
func (t *tokenRequest) omitResource(rejected *oauth.Error) bool {
	if !t.optionalResource || rejected.Class() != oauth.ClassTarget || t.resource.Param() == "" {
		return false
	}
	t.resource = record.Resource{Value: t.resource.Value, Omit: true, Reason: "the authorization server rejects it"}
	t.events.decide(StepToken, aboutResource, "omitted", t.resource.Reason)
	return true
}

// nameScope names the scope, or leaves it out, the other way from before, once:
// some servers reject both.
func (t *tokenRequest) nameScope(rejected *oauth.Error) bool {
	switch {
	case t.rescoped || t.grantedScope == "":
		return false
	case t.scope == "" && rejected.WantsScope():
		t.scope = t.grantedScope
	case t.scope != "" && rejected.Class() == oauth.ClassScope:
		t.scope = ""
	default:
		return false
	}
	t.rescoped = true
	t.events.decide(StepToken, aboutScope, cmp.Or(t.scope, "omitted"), "the server rejects the request otherwise")
	return true
}

// nextForm has the client authenticate in the next form, if there is one and the
// error response may be about that.
func (t *tokenRequest) nextForm(err error) bool {
	if len(t.next) == 0 || !mayBlameClient(err) {
		return false
	}
	i := 0
	if rejected, ok := errtype.As[*oauth.Error](err); ok && rejected.WantsClientSecret() {
		// It looks for the secret in the form.
		i = max(0, slices.IndexFunc(t.next, func(f authForm) bool { return f.method == oauth.MethodPost }))
	}
	if rejected, ok := errtype.As[*oauth.Error](err); ok && t.firstForm == nil {
		t.firstForm = rejected
	}
	t.form, t.next = t.next[i], slices.Delete(slices.Clone(t.next), i, i+1)
	t.events.decide(StepAuthMethod, aboutAuthMethod, t.form.String(), "the server rejected the client: the next one is tried")
	return true
}

// moved reads the server's metadata again, once, where the token endpoint responds that it is not
// there, and reports whether the metadata names another one on the same origin.
func (t *tokenRequest) moved(ctx context.Context, err error) bool {
	if _, unreached := errtype.As[*oauth.SendError](err); t.metadata == nil || t.metadataRead || unreached || !endpointGone(err) {
		return false
	}
	t.metadataRead = true
	found, err := t.metadata(ctx)
	if err != nil || found.TokenEndpoint == t.redeem.Endpoint {
		return false
	}
	before, errBefore := url.Parse(t.redeem.Endpoint)
	now, errNow := url.Parse(found.TokenEndpoint)
	if errBefore != nil || errNow != nil || !oauth.SameOrigin(before, now) {
		return false
	}
	t.redeem.Endpoint = found.TokenEndpoint
	t.events.report(StepToken, "the token endpoint has moved; the request is sent to the new one")
	return true
}

// endpointGone reports whether nothing responds at an endpoint, or only that it is not there.
func endpointGone(err error) bool {
	if lost, ok := errtype.As[*oauth.SendError](err); ok {
		return !lost.Sent
	}
	failed, ok := errtype.As[*oauth.TransientError](err)
	return ok && (failed.Status == http.StatusNotFound || failed.Status == http.StatusMethodNotAllowed || failed.Status == http.StatusGone)
}

// noteFailure notes an error that is about no part of the request, and reports whether the
// same request may be sent again after t.wait.
func (t *tokenRequest) noteFailure(err error, try int) (again bool) {
	t.wait = cmp.Or(oauth.RetryAfter(err), backoff(try))
	failed, isFailed := errtype.As[*oauth.TransientError](err)
	lost, isLost := errtype.As[*oauth.SendError](err)
	_, unusable := errtype.As[*oauth.ProtocolError](err)
	t.inDoubt = t.inDoubt || unusable || isLost && lost.Sent || isFailed && outcomeUnknown(failed.Status)
	switch t.repeat {
	case sendUntilReceived:
		_, blocked := errtype.As[*oauth.BlockedError](err)
		return !blocked && (isLost && !lost.Sent || isFailed && oauth.Unprocessed(err))
	case sendUntilResponse:
		return !unusable
	}
	return false
}

// outcomeUnknown reports whether a status leaves open what the server has done: a
// gateway's or a failure half-way, rather than "not now".
func outcomeUnknown(status int) bool {
	return status == http.StatusInternalServerError || status == http.StatusBadGateway || status == http.StatusGatewayTimeout
}

// backoff returns the wait after the given number of failures, doubled each
// time, with jitter of a quarter either way.
func backoff(failures int) time.Duration {
	d := float64(firstBackoff) * math.Pow(2, float64(min(failures, 20)-1))
	return time.Duration(d * (0.75 + mrand.Float64()/2))
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// applyToken writes a token response into the grant. What the response omits
// stays as it was (RFC 6749, sections 5.1 and 6).
func applyToken(g *record.Grant, t *oauth.TokenResponse, at time.Time) {
	g.AccessToken, g.TokenType = t.AccessToken, t.TokenType
	g.ObtainedAt, g.ExpiresAt = at.UTC(), time.Time{}
	if t.ExpiresIn > 0 {
		g.ExpiresAt = at.Add(t.ExpiresIn).UTC()
	}
	if t.RefreshToken != "" {
		g.RefreshToken = t.RefreshToken
	}
	if t.IDToken != "" {
		g.IDToken = t.IDToken
	}
	if t.ScopePresent {
		g.ScopeGranted = t.Scope
	}
	g.Rejected, g.Accepted = false, false
}
