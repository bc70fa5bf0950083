package handstamp

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// loginPlan has what discovery found: which servers to contact, and what to request.
type loginPlan struct {
	acrValues, maxAge string // how the user has to sign in (RFC 9470)

	server   *oauth.ServerMetadata
	resource record.Resource
	scopes   []string // nil: request none
	proofs   bool     // request tokens that are bound to a key
	// scopeReason and proofsReason are why, for the events.
	scopeReason, proofsReason string

	algs     []string // of these proofs; nil: any
	stored   bool     // it is that of the login before, and nothing was discovered
	fallback []string // what to request when the server rejects scopes: those that both documents list
}

// discovery finds the authorization server of an MCP server.
type discovery struct {
	*credential
	found *findings // nil: what a discovery came upon is not kept
}

// findings are what a discovery came upon, whether it succeeds or not. Methods accept nil.
type findings struct {
	reply       *serverReply
	resource    *oauth.ResourceMetadata
	resourceErr error
	servers     []foundServer
}

// foundServer is an authorization server whose metadata was looked for; nil: none was found.
type foundServer struct {
	metadata *oauth.ServerMetadata
	err      error
}

func (f *findings) noteReply(r *serverReply) {
	if f != nil {
		f.reply = r
	}
}

func (f *findings) noteResource(m *oauth.ResourceMetadata, err error) {
	if f != nil {
		f.resource, f.resourceErr = m, err
	}
}

func (f *findings) noteServer(m *oauth.ServerMetadata, err error) {
	if f != nil {
		f.servers = append(f.servers, foundServer{m, err})
	}
}

// discover finds the authorization server of the session's server (MCP
// authorization, "Authorization Server Discovery") and decides on resource and
// scope.
func (d *discovery) discover(ctx context.Context, rec *record.Record, req loginRequest) (*loginPlan, error) {
	if d.config.identityProvider {
		return d.discoverProvider(ctx)
	}
	if plan := d.storedPlan(rec, req); plan != nil {
		return plan, nil
	}
	challenge, reply, err := d.challenge(ctx, req)
	if err != nil {
		return nil, err
	}
	rm, err := d.resourceMetadata(ctx, challenge)
	if rm == nil && req.challenge.Found && req.rejectedToken != "" && challenge.ResourceMetadata == "" {
		rm, err = d.metadataWithoutToken(ctx, err)
	}
	d.found.noteResource(rm, err)
	d.events.foundResource(rm, err)
	if reply != nil {
		if err := d.checkTarget(ctx, reply, rm, err); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, d.errs.from(err)
	}
	p := &loginPlan{acrValues: cmp.Or(challenge.ACRValues, rec.ACRValues), maxAge: cmp.Or(challenge.MaxAge, rec.MaxAge)}
	p.server, err = d.findAuthorizationServer(ctx, rec, rm)
	d.events.foundServer(p.server, err)
	if err != nil {
		return nil, d.errs.from(err)
	}
	if p.server.Form == oauth.FormLegacy {
		if err := d.checkLegacy(rec, req, reply); err != nil {
			return nil, err
		}
	}
	p.server = d.forCertificate(p.server)
	p.proofs = d.config.DPoP.wants(rm.OffersDPoP() || challenge.DPoP)
	p.proofsReason = d.config.DPoP.reason(rm.OffersDPoP(), challenge.DPoP)
	// The client may turn out to be registered for bound tokens.
	p.algs = proofAlgorithms(rm.ProofAlgorithms(), strings.Fields(challenge.Algs), p.server.DPoPSigningAlgValuesSupported)
	if err := d.checkCodeGrant(rec, p.server); err != nil {
		return nil, d.errs.from(err)
	}
	p.resource = d.resource(rec, rm, p.server.Issuer)
	if len(d.config.Scopes) == 0 {
		req.scopes = append(slices.Clone(req.scopes), previouslyGrantedScopes(rec, p.server.Issuer)...)
	}
	p.scopes, p.fallback = d.scopes(rm, p.server, challenge, req)
	p.scopeReason = d.scopeReason(rm, challenge)
	return p, nil
}

// challenge returns the challenge of the request, or else that to a request without a token, with the
// response. That is nil where a request was rejected, so that there is a server.
func (d *discovery) challenge(ctx context.Context, req loginRequest) (oauth.BearerChallenge, *serverReply, error) {
	if req.challenge.Found {
		return req.challenge, nil, nil
	}
	reply, err := d.server.probeChallenge(ctx)
	if err != nil {
		return oauth.BearerChallenge{}, nil, err
	}
	d.found.noteReply(reply)
	d.events.challenged(reply)
	if !req.interactive && reply.status != http.StatusUnauthorized && reply.status != http.StatusForbidden {
		return reply.challenge, nil, nil // only the request that was rejected needs a login
	}
	return reply.challenge, reply, nil
}

// checkLegacy returns an error where a login at default endpoints is out of place: at a server that
// wants none, and where no user has begun it and the login before is from a server with metadata, since
// a response that lacks something is no sign of a move.
func (d *discovery) checkLegacy(rec *record.Record, req loginRequest, reply *serverReply) error {
	as := rec.AuthorizationServer
	if req.byUser || req.rejectedToken == "" || rec.Grant == nil || as == nil || as.Form == oauth.FormLegacy {
		return d.server.noLoginError(reply)
	}
	return &Error{Kind: ErrProtocol, Server: d.serverURL, Hint: "sign in to " + addressOf(d.serverURL),
		Message: "the MCP server no longer names an authorization server; the login is from " + oauth.Sanitize(as.Issuer)}
}

// storedPlan returns the plan of the login before, for one that needs no user and follows only
// because its access token has expired; nil if there is a reason to discover again.
func (d *discovery) storedPlan(rec *record.Record, req loginRequest) *loginPlan {
	if req.byUser || req.anew || req.challenge.Found || rec.Grant == nil || rec.Grant.Rejected ||
		!d.config.unattended(rec) || !d.config.resumable(rec, time.Now()) {
		return nil
	}
	server := storedMetadata(rec)
	if server == nil || server.TokenEndpoint != rec.Grant.TokenEndpoint && d.config.Certificate == nil {
		return nil
	}
	return &loginPlan{
		server: d.forCertificate(server), resource: rec.Grant.Resource, scopes: strings.Fields(rec.Grant.ScopeRequested),
		proofs: d.config.DPoP.wants(rec.Grant.DPoP), stored: true,
		scopeReason: fromLoginBefore, proofsReason: fromLoginBefore,
	}
}

// resourceMetadata returns the server's metadata (RFC 9728), nil if there is none. A server that
// redirects on its own origin may describe itself as where it redirects to.
func (d *discovery) resourceMetadata(ctx context.Context, challenge oauth.BearerChallenge) (*oauth.ResourceMetadata, error) {
	ctx = d.server.observe(ctx, d.fetcher.HTTP())
	rm, err := d.fetcher.ResourceMetadata(ctx, d.server.target, challenge.ResourceMetadata)
	if moved := d.server.moved.Load(); moved != nil && err != nil {
		if there, err := d.fetcher.ResourceMetadata(ctx, *moved, challenge.ResourceMetadata); err == nil {
			return there, nil
		}
	}
	if errors.Is(err, oauth.ErrNoMetadata) {
		return nil, nil
	}
	return rm, err
}

// metadataWithoutToken returns the server's metadata at the place that the challenge to a request
// without a token names, which some servers leave out of the one to a token that they reject. If that
// names none either, before is the error.
func (d *discovery) metadataWithoutToken(ctx context.Context, before error) (*oauth.ResourceMetadata, error) {
	reply, err := d.server.probeChallenge(ctx)
	if err != nil {
		return nil, err
	}
	d.events.challenged(reply)
	if reply.challenge.ResourceMetadata == "" {
		return nil, before
	}
	return d.resourceMetadata(ctx, reply.challenge)
}

// metadataAgain returns the metadata of the stored login's authorization server as it is now.
func (d *discovery) metadataAgain(ctx context.Context, rec *record.Record) (found *oauth.ServerMetadata, err error) {
	switch as := rec.AuthorizationServer; {
	case d.config.AuthorizationServer != nil:
		found, err = d.statedServer(ctx)
	case as != nil && as.Form == oauth.FormLegacy:
		found, err = d.fetcher.LegacyServerMetadata(ctx, d.server.target)
	default:
		found, err = d.fetcher.ServerMetadata(ctx, rec.Grant.Issuer)
	}
	if err == nil && found.Issuer != rec.Grant.Issuer {
		err = errMoved
	}
	if err != nil {
		return nil, err
	}
	return d.forCertificate(found), nil
}

// forCertificate returns the metadata, fetched or stored, with the endpoints for clients that present a
// certificate, if one is configured, and without those that it may not name.
func (d *discovery) forCertificate(m *oauth.ServerMetadata) *oauth.ServerMetadata {
	d.server.dropUnnamed(m)
	if d.config.Certificate == nil {
		return m
	}
	return m.ForCertificates(d.server.mayName)
}

// previouslyGrantedScopes returns what the last login at an issuer requested and was granted.
// The next one requests it again, or a step-up would come back as a second tab
// of every later login.
func previouslyGrantedScopes(rec *record.Record, issuer string) []string {
	g := rec.Grant
	if g == nil || !oauth.SameButSlash(g.Issuer, issuer) {
		return nil
	}
	requested := strings.Fields(g.ScopeRequested)
	return oauth.Without(requested, oauth.Without(requested, strings.Fields(g.ScopeGranted)))
}

// probeChallenge gets the server's challenge with a request that means nothing and carries no
// token. A server that takes no POST there may be one that speaks HTTP+SSE (MCP 2024-11-05),
// whose stream begins with a GET.
func (m *mcpServer) probeChallenge(ctx context.Context) (*serverReply, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	ctx = m.observe(ctx, m.config.serverTransport())
	resp, err := m.probe(ctx, http.MethodPost, nil)
	if err != nil {
		return nil, err
	}
	return m.closerReply(ctx, readServerReply(resp)), nil
}

// probe sends a request to the server, with the token unless that is nil. It follows the redirects
// that the transport follows.
func (m *mcpServer) probe(ctx context.Context, method string, token *cachedToken) (*http.Response, error) {
	req, err := newProbe(ctx, method, m.target)
	if err != nil {
		return nil, &Error{Kind: ErrInvalidConfig, Server: m.serverURL, Err: err}
	}
	return m.send(req, token)
}

// send is probe for any request.
func (m *mcpServer) send(req *http.Request, token *cachedToken) (_ *http.Response, err error) {
	if token != nil {
		if req, err = withAuthorization(req, req.Body, token); err != nil {
			return nil, err
		}
	}
	client := &http.Client{
		Transport: sameOriginTransport{server: m, base: m.config.serverTransport()},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if err := m.followRedirect(next, via); err != nil {
				return err
			}
			return token.prove(next)
		},
	}
	watched := m.events.sent(purposeServer, req, token)
	resp, err := client.Do(req)
	watched(resp, err)
	if err == nil {
		token.noteNonce(resp.Request, resp)
		m.noteMoved(resp.Request)
		return resp, nil
	}
	if rejected, ok := errtype.As[*Error](err); ok {
		return nil, rejected
	}
	if outer, ok := errtype.As[*url.Error](err); ok {
		err = outer.Err // the outer one repeats the URL
	}
	return nil, m.connectError(err)
}

// resource decides on the resource parameter (RFC 8707, section 2).
func (d *discovery) resource(rec *record.Record, rm *oauth.ResourceMetadata, issuer string) record.Resource {
	switch {
	case d.config.Resource != "":
		return record.Resource{Value: d.config.Resource, Reason: "as configured"}
	case d.config.OmitResource:
		return record.Resource{Omit: true, Reason: "as configured"}
	}
	value, why := oauth.ChooseResource(d.server.target, rm)
	if slices.Contains(rec.OmitResource, issuer) {
		return record.Resource{Value: value, Omit: true, Reason: "the authorization server rejects it"}
	}
	return record.Resource{Value: value, Reason: why}
}

// scopes decides which scopes to request, and which if those are rejected: the
// user's, else the challenge's, else the resource metadata's, else none (MCP
// authorization, "Scope Selection Strategy").
func (d *discovery) scopes(rm *oauth.ResourceMetadata, as *oauth.ServerMetadata, challenge oauth.BearerChallenge, req loginRequest) (scopes, fallback []string) {
	var listed []string
	if rm != nil {
		listed = rm.ScopesSupported
	}
	switch {
	case len(d.config.Scopes) > 0:
		scopes = slices.Clone(d.config.Scopes)
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
	fallback = oauth.Without(scopes, append(oauth.Without(scopes, as.ScopesSupported), oauth.OfflineAccess))
	// Many servers issue a refresh token only for this scope (OpenID Connect
	// Core, section 11), and some reject it from clients that may not have it.
	if slices.Contains(as.ScopesSupported, oauth.OfflineAccess) && !slices.Contains(scopes, oauth.OfflineAccess) {
		scopes = append(scopes, oauth.OfflineAccess)
	}
	return scopes, fallback
}

// fromLoginBefore is the reason for what a login does as the one before.
const fromLoginBefore = "as in the login before"

// scopeReason returns where the scopes of a login are from.
func (d *discovery) scopeReason(rm *oauth.ResourceMetadata, challenge oauth.BearerChallenge) string {
	switch {
	case len(d.config.Scopes) > 0:
		return "as configured"
	case challenge.Scope != "":
		return "named by the challenge"
	case rm != nil && len(rm.ScopesSupported) > 0:
		return "listed by the resource metadata"
	}
	return "the MCP server names none"
}
