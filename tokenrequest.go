package handstamp

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// tokenRequest is a request to the token endpoint while it is being tried: what
// it redeems, who sends it, and what is left to try if the server rejects it.
type tokenRequest struct {
	redeem   oauth.TokenRequest // the grant, and what else stays the same
	client   *store.Client
	form     authForm
	next     []authForm // left to try
	resource store.Resource
	scope    string // "": none is named
	rescoped bool   // the scope was named, or not, the other way before

	sent int // requests so far
}

// send sends the request once. received, if not nil, gets every response with
// status 2xx before anything is read from it.
func (t *tokenRequest) send(ctx context.Context, f *oauth.Fetcher, received func(*oauth.RawResponse)) (token *oauth.TokenResponse, at time.Time, err error) {
	request := t.redeem
	request.Client = t.form.credentials(t.client)
	request.Resource = resourceParam(t.resource)
	request.Scope = t.scope
	t.sent++
	raw, err := f.PostToken(ctx, request)
	if err != nil {
		return nil, time.Time{}, err
	}
	if received != nil && raw.Status/100 == 2 {
		received(raw)
	}
	token, err = oauth.ParseTokenResponse(raw)
	return token, raw.ReceivedAt, err
}

// nextForm has the client authenticate in the next form, if there is one and the
// error response may be about that.
func (t *tokenRequest) nextForm(err error) bool {
	if len(t.next) == 0 || !mayBlameClient(err) {
		return false
	}
	i := 0
	if rejected, ok := errors.AsType[*oauth.Error](err); ok && rejected.WantsClientSecret() {
		// It looks for the secret in the form.
		i = max(0, slices.IndexFunc(t.next, func(f authForm) bool { return f.method == oauth.MethodPost }))
	}
	t.form, t.next = t.next[i], slices.Delete(slices.Clone(t.next), i, i+1)
	return true
}

// omitResource leaves the resource parameter out, if the rejection is about it.
func (t *tokenRequest) omitResource(rejected *oauth.Error) bool {
	if rejected.Class() != oauth.ClassTarget || resourceParam(t.resource) == "" {
		return false
	}
	t.resource = store.Resource{Value: t.resource.Value, Omit: true, Why: "the authorization server rejects it"}
	return true
}

// nameScope has a refresh name its scope, or not, the other way from before, once:
// some servers reject both.
func (t *tokenRequest) nameScope(rejected *oauth.Error, scope string) bool {
	switch {
	case t.rescoped:
		return false
	case t.scope == "" && scope != "" && rejected.WantsScope():
		t.scope = scope
	case t.scope != "" && rejected.Class() == oauth.ClassScope:
		t.scope = ""
	default:
		return false
	}
	t.rescoped = true
	return true
}
