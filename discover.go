package handstamp

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// loginPlan is what a login found out about whom to ask, and for what.
type loginPlan struct {
	server   *oauth.ServerMetadata
	resource store.Resource
	scopes   []string // nil: request none
	fallback []string // what to request when the server refuses scopes: those that both documents list
}

// discover finds the authorization server of the session's server (MCP
// authorization, "Authorization Server Discovery") and decides on resource and
// scope.
func (s *session) discover(ctx context.Context, rec *store.Record, req loginRequest) (*loginPlan, error) {
	challenge := req.challenge
	var reply *serverReply // nil: a request was rejected, so there is a server
	if !challenge.Found {
		var err error
		if reply, err = s.probeChallenge(ctx); err != nil {
			return nil, err
		}
		challenge = reply.challenge
		if !req.interactive && reply.status != http.StatusUnauthorized && reply.status != http.StatusForbidden {
			reply = nil // only the request that was rejected needs a login
		}
	}
	rm, err := s.resourceMetadata(ctx, challenge)
	if reply != nil {
		if err := s.checkTarget(ctx, reply, rm, err); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, s.asError(err)
	}
	p := &loginPlan{}
	if p.server, err = s.findAuthorizationServer(ctx, rec, rm); err != nil {
		return nil, s.asError(err)
	}
	if p.server.Form == oauth.FormLegacy {
		if err := s.noLoginError(reply); err != nil {
			return nil, err
		}
	}
	if !s.c.InsecureAllowMissingPKCE {
		if err := p.server.PKCE(); err != nil {
			return nil, s.asError(err)
		}
	}
	p.resource = s.resource(rec, rm, p.server.Issuer)
	if len(s.c.Scopes) == 0 {
		req.scopes = append(slices.Clone(req.scopes), previouslyGrantedScopes(rec, p.server.Issuer)...)
	}
	p.scopes, p.fallback = s.scopes(rm, p.server, challenge, req)
	return p, nil
}

// resourceMetadata returns the server's metadata (RFC 9728), nil if there is none. A server that
// redirects on its own origin may describe itself as where it redirects to.
func (s *session) resourceMetadata(ctx context.Context, challenge oauth.BearerChallenge) (*oauth.ResourceMetadata, error) {
	ctx = s.observeServer(ctx, s.fetcher.HTTP)
	rm, err := s.fetcher.ResourceMetadata(ctx, s.target, challenge.ResourceMetadata)
	if moved := s.moved.Load(); moved != nil && err != nil {
		if there, err := s.fetcher.ResourceMetadata(ctx, *moved, challenge.ResourceMetadata); err == nil {
			return there, nil
		}
	}
	if errors.Is(err, oauth.ErrNoMetadata) {
		return nil, nil
	}
	return rm, err
}

// previouslyGrantedScopes returns what the last login at an issuer asked for and was granted.
// The next one asks for it again, or a step-up would come back as a second tab
// of every later login.
func previouslyGrantedScopes(rec *store.Record, issuer string) []string {
	g := rec.Grant
	if g == nil || !sameIssuer(g.Issuer, issuer) {
		return nil
	}
	granted := strings.Fields(g.ScopeGranted)
	return slices.DeleteFunc(strings.Fields(g.ScopeRequested), func(scope string) bool { return !slices.Contains(granted, scope) })
}

// probeChallenge gets the server's challenge with a request that means nothing and carries no
// token. A server that takes no POST there may be one that speaks HTTP+SSE (MCP 2024-11-05),
// whose stream begins with a GET.
func (s *session) probeChallenge(ctx context.Context) (*serverReply, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	ctx = s.observeServer(ctx, s.c.BaseTransport)
	resp, err := s.probe(ctx, http.MethodPost, probeMessage, nil)
	if err != nil {
		return nil, err
	}
	return s.closerReply(ctx, readServerReply(resp)), nil
}

// probe sends a request to the server, with the token unless that is nil. It follows the redirects
// that the transport follows.
func (s *session) probe(ctx context.Context, method, body string, token *cachedToken) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.target, strings.NewReader(body))
	if err != nil {
		return nil, &Error{Kind: ErrInvalidConfig, Server: s.serverURL, Err: err}
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if token != nil {
		req = withAuthorization(req, req.Body, token)
	}
	client := &http.Client{
		Transport:     sameOriginTransport{session: s, base: s.c.BaseTransport},
		CheckRedirect: s.followRedirect,
	}
	resp, err := client.Do(req)
	if err == nil {
		s.noteMoved(resp.Request)
		return resp, nil
	}
	if rejected, ok := errors.AsType[*Error](err); ok {
		return nil, rejected
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // the outer one repeats the URL
	}
	return nil, &Error{Kind: ErrServerUnreachable, Server: s.serverURL, Message: "the MCP server cannot be reached", Err: err}
}

// resource decides on the resource parameter (RFC 8707, section 2).
func (s *session) resource(rec *store.Record, rm *oauth.ResourceMetadata, issuer string) store.Resource {
	switch {
	case s.c.Resource != "":
		return store.Resource{Value: s.c.Resource, Why: "as configured"}
	case s.c.OmitResource:
		return store.Resource{Omit: true, Why: "as configured"}
	}
	value, why := oauth.ChooseResource(s.target, rm)
	if slices.Contains(rec.OmitResource, issuer) {
		return store.Resource{Value: value, Omit: true, Why: "the authorization server rejects it"}
	}
	return store.Resource{Value: value, Why: why}
}

// resourceParam returns what to send as the resource parameter; "" sends none.
func resourceParam(r store.Resource) string {
	if r.Omit {
		return ""
	}
	return r.Value
}

// scopes decides which scopes to request, and which if those are refused: the
// user's, else the challenge's, else the resource metadata's, else none (MCP
// authorization, "Scope Selection Strategy").
func (s *session) scopes(rm *oauth.ResourceMetadata, as *oauth.ServerMetadata, challenge oauth.BearerChallenge, req loginRequest) (scopes, fallback []string) {
	var listed []string
	if rm != nil {
		listed = rm.ScopesSupported
	}
	switch {
	case len(s.c.Scopes) > 0:
		scopes = slices.Clone(s.c.Scopes)
	case challenge.Scope != "":
		scopes = strings.Fields(challenge.Scope)
	default:
		scopes = slices.Clone(listed)
	}
	for _, more := range req.scopes {
		if !slices.Contains(scopes, more) {
			scopes = append(scopes, more)
		}
	}
	for _, scope := range scopes {
		if slices.Contains(as.ScopesSupported, scope) {
			fallback = append(fallback, scope)
		}
	}
	// Many servers issue a refresh token only for this scope (OpenID Connect
	// Core, section 11), and some refuse it from clients that may not have it.
	if slices.Contains(as.ScopesSupported, offlineAccess) && !slices.Contains(scopes, offlineAccess) {
		scopes = append(scopes, offlineAccess)
	}
	return scopes, slices.DeleteFunc(fallback, func(scope string) bool { return scope == offlineAccess })
}

const offlineAccess = "offline_access"

// extraAuthParams returns what else the authorization request says: what the user wants,
// and what a refresh token takes at an OpenID provider. One that lists
// offline_access may ignore it, in silence, unless the person is asked for consent
// (OpenID Connect Core, section 11); one that does not, but lists the grant, gives
// refresh tokens as Google does: for access_type=offline, with that consent.
// Others ignore a parameter that they do not know (RFC 6749, section 3.1).
func (s *session) extraAuthParams(as *oauth.ServerMetadata, scope string) url.Values {
	params := make(url.Values)
	switch {
	case !slices.Contains(as.ScopesSupported, "openid"):
	case slices.Contains(as.ScopesSupported, offlineAccess):
		if slices.Contains(strings.Fields(scope), offlineAccess) {
			params.Set("prompt", "consent")
		}
	case slices.Contains(as.GrantTypesSupported, "refresh_token"):
		params.Set("access_type", "offline")
		params.Set("prompt", "consent")
	}
	maps.Copy(params, s.c.ExtraAuthParams)
	return params
}
