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
	if req.interactive && !challenge.Found {
		var err error
		if reply, err = s.probeChallenge(ctx); err != nil {
			return nil, err
		}
		challenge = reply.challenge
	}
	rm, err := s.fetcher.ResourceMetadata(ctx, s.target, challenge.ResourceMetadata)
	if reply != nil {
		if err := s.checkTarget(ctx, reply, rm, err); err != nil {
			return nil, err
		}
	}
	if err != nil && !errors.Is(err, oauth.ErrAbsent) {
		return nil, s.asError(err)
	}
	p := &loginPlan{}
	if rm == nil || len(rm.AuthorizationServers) == 0 {
		// MCP 2025-03-26: the server is its own authorization server.
		p.server, err = s.fetcher.LegacyServerMetadata(ctx, s.target)
		if err == nil && p.server.Form == oauth.FormLegacy {
			err = s.noLoginError(reply)
		}
	} else {
		p.server, err = s.selectAuthorizationServer(ctx, rec, rm.AuthorizationServers)
	}
	if err != nil {
		return nil, s.asError(err)
	}
	if p.server.Form != oauth.FormLegacy && !s.c.InsecureAllowMissingPKCE {
		if err := p.server.PKCE(); err != nil {
			return nil, &Error{Kind: ErrProtocol, Server: s.serverURL, Err: err,
				Hint: "if the server is known to support PKCE and only omits to say so, allow that explicitly"}
		}
	}
	p.resource = s.resource(rec, rm, p.server.Issuer)
	if len(s.c.Scopes) == 0 {
		req.scopes = append(slices.Clone(req.scopes), previouslyGrantedScopes(rec, p.server.Issuer)...)
	}
	p.scopes, p.fallback = s.scopes(rm, p.server, challenge, req)
	return p, nil
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

// probeChallenge asks the server for its challenge with a request that means nothing
// and carries no token.
func (s *session) probeChallenge(ctx context.Context) (*serverReply, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.target, strings.NewReader(probeMessage))
	if err != nil {
		return nil, &Error{Kind: ErrUsage, Server: s.serverURL, Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := s.c.HTTP.RoundTrip(req)
	if err != nil {
		return nil, &Error{Kind: ErrServerUnreachable, Server: s.serverURL, Message: "the MCP server cannot be reached", Err: err}
	}
	return s.closerReply(ctx, readServerReply(resp)), nil
}

// selectAuthorizationServer returns the metadata of one of the issuers that the
// resource names: the configured client's, else the one that the login is
// already at home with, else the first that answers.
func (s *session) selectAuthorizationServer(ctx context.Context, rec *store.Record, issuers []string) (*oauth.ServerMetadata, error) {
	if r := s.c.Registration; r != nil && r.Issuer != "" {
		i := slices.IndexFunc(issuers, func(issuer string) bool { return sameIssuer(issuer, r.Issuer) })
		if i < 0 {
			return nil, &Error{Kind: ErrUsage, Server: s.serverURL,
				Message: "the configured client belongs to " + r.Issuer + ", but the server names " + oauth.Sanitize(strings.Join(issuers, ", ")) + " as its authorization server"}
		}
		issuers = issuers[i : i+1]
	} else if as := rec.AuthorizationServer; as != nil {
		if i := slices.IndexFunc(issuers, func(issuer string) bool { return sameIssuer(issuer, as.Issuer) }); i > 0 {
			issuers = append([]string{issuers[i]}, slices.Delete(slices.Clone(issuers), i, i+1)...)
		}
	}
	var first error
	for _, issuer := range issuers[:min(len(issuers), 4)] {
		m, err := s.fetcher.ServerMetadata(ctx, issuer)
		if err == nil {
			return m, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// sameIssuer compares issuers as discovery does: one slash at the end makes no
// difference.
func sameIssuer(a, b string) bool {
	return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/")
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
	maps.Copy(params, s.c.AuthorizeParams)
	return params
}
