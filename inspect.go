package handstamp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// Inspect finds out what a login at a server would find and do, and whether the stored one works,
// without changing anything, neither in the store nor at a server: no client is registered, unless
// the server accepts a malformed registration request (then Registration.Reason says so), and no
// token is refreshed. It sends
//
//   - the requests of discovery, which have no credential;
//   - where a client would be registered, a registration request whose JSON is cut off;
//   - a code exchange with a made-up code (RFC 6749, section 4.1.3), as the stored or configured
//     client, if there is one;
//   - initialize with the stored access token, if there is one that has not expired, or without
//     a token at a server that wants none; a session that begins with it is ended.
//
// Of these it sends only the first where the store cannot be read.
//
// What is wrong with the server is in the Inspection. The error is of kind [ErrInvalidConfig] for
// invalid arguments, or it is ctx's.
func (c *Client) Inspect(ctx context.Context, serverURL string) (*Inspection, error) {
	s, err := c.session(serverURL)
	if err != nil {
		return nil, err
	}
	in := &inspector{credential: &s.credential, found: &findings{},
		out: &Inspection{key: s.records.key, secrets: s.secrets.all}}
	unreadable := in.readStore(ctx)
	in.discover(ctx)
	if unreadable == nil {
		in.tryClient(ctx)
	} else { // so that it is not known which server the configured secrets are for
		in.out.LoginError = unreadable
	}
	in.tryToken(ctx)
	return in.out, ctx.Err()
}

// inspector carries out one [Client.Inspect].
type inspector struct {
	*credential
	found *findings
	rec   *record.Record
	plan  *loginPlan
	out   *Inspection
}

// readStore reads the stored record as it is: a damaged one stays where it is. The error is that of a
// store that cannot be read.
func (in *inspector) readStore(ctx context.Context) error {
	err := callStore(ctx, in.records.timeout, func(ctx context.Context) (err error) {
		in.rec, err = record.Peek(ctx, in.records.store, in.records.key)
		return err
	})
	if in.rec == nil {
		in.rec = &record.Record{Key: in.records.key}
	}
	in.rec.ServerURL = cmp.Or(in.rec.ServerURL, in.serverURL)
	if err == nil || errors.Is(err, store.ErrNotFound) {
		in.describeStored(ctx)
		return nil
	}
	in.out.Status = unreadable(in.records.key, err)
	in.out.Status.Server = in.serverURL
	if in.out.Status.State == StateCorrupt {
		return nil
	}
	return storeError(ctx, in.serverURL, err)
}

// describeStored notes what the record shows of the stored login.
func (in *inspector) describeStored(ctx context.Context) {
	in.noteRecord(in.rec)
	in.out.Status = statusOf(in.rec, time.Now())
	in.out.Status.Issuer = in.secrets.shown(in.out.Status.Issuer)
	in.out.Status.ClientID = in.secrets.shown(in.out.Status.ClientID)
	in.out.LastFailure = lastFailure(in.rec)
	if r := in.rec.Retry; r != nil {
		in.out.RefreshFailed = in.secrets.shown(r.Reason)
	}
	in.out.RefreshInterrupted = refreshInterrupted(in.rec)
	in.tryLock(ctx)
	if g := in.rec.Grant; g != nil {
		in.out.Refreshable = g.RefreshToken != "" && in.rec.GrantError == nil && in.config.refreshable(in.rec, time.Now()) ||
			in.config.unattended(in.rec)
		in.out.NotGranted = in.secrets.shownList(oauth.Without(strings.Fields(g.ScopeRequested), strings.Fields(g.ScopeGranted)))
	}
	if c := in.rec.GrantClient(); c != nil {
		in.out.SecretExpired = secretExpired(in.config.withConfiguredSecret(c), in.rec.Grant, time.Now())
	}
}

// tryLockWait is how long Inspect waits for the lock of a refresh. One that is under way takes longer
// only where a server does.
const tryLockWait = 2 * time.Second

// tryLock finds out whether another process holds the lock that a refresh needs.
func (in *inspector) tryLock(ctx context.Context) {
	if in.rec.Grant == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tryLockWait)
	defer cancel()
	unlock, err := in.records.store.Lock(ctx, in.records.key, store.LockRefresh)
	if err == nil {
		unlock()
	} else if store.Busy(err) != nil {
		in.out.Locked = storeError(ctx, in.serverURL, err)
	}
}

// lastFailure returns what the record has of the last login or registration that failed.
func lastFailure(rec *record.Record) *PastFailure {
	if f := rec.LoginFailure; f != nil && errorKinds[f.Kind] != nil {
		return &PastFailure{Kind: errorKinds[f.Kind], Message: f.Message, Code: f.Code, At: f.At}
	}
	if n := len(rec.Cooldowns); n > 0 && errorKinds[rec.Cooldowns[n-1].Kind] != nil {
		e := rec.Cooldowns[n-1]
		return &PastFailure{Kind: errorKinds[e.Kind], Message: e.Message, Hint: e.Hint, Code: e.Code, At: e.First, Until: e.Until}
	}
	return nil
}

// discover does what a login does before it chooses a client.
func (in *inspector) discover(ctx context.Context) {
	d := &discovery{credential: in.credential, found: in.found}
	in.plan, in.out.LoginError = d.discover(ctx, in.rec, loginRequest{interactive: true, byUser: true})
	if reply := in.found.reply; reply != nil {
		in.out.Response, in.out.ClockAhead = in.describeReply(reply), reply.clockAhead
		if to := in.server.moved.Load(); to != nil {
			in.out.Response.MovedTo = in.secrets.shown(*to)
		}
	} else {
		in.out.ResponseError = in.out.LoginError
	}
	if rm := in.found.resource; rm != nil {
		in.out.Resource = &ResourceMetadata{Resource: in.secrets.shown(rm.Resource), DPoP: rm.OffersDPoP(),
			AuthorizationServers: in.secrets.shownList(rm.AuthorizationServers),
			Scopes:               in.secrets.shownList(rm.ScopesSupported)}
	}
	if err := in.found.resourceErr; err != nil {
		in.out.ResourceError = in.errs.from(err)
	}
	for _, f := range in.found.servers {
		in.out.Servers = append(in.out.Servers, in.describeServer(f))
	}
}

func (in *inspector) describeReply(r *serverReply) *ServerResponse {
	return &ServerResponse{Status: r.status, MCP: r.mcp, Page: r.page, Scheme: in.secrets.shown(r.scheme),
		Bearer: r.challenge.Found, DPoP: r.challenge.DPoP,
		Metadata: in.secrets.shown(r.challenge.ResourceMetadata), Scope: in.secrets.shownScope(r.challenge.Scope)}
}

func (in *inspector) describeServer(f foundServer) InspectedServer {
	var s InspectedServer
	if f.err != nil {
		s.Err = in.errs.from(f.err)
	}
	m := f.metadata
	if m == nil {
		return s
	}
	shown, list := in.secrets.shown, in.secrets.shownList
	s.Issuer, s.Form = shown(m.Issuer), m.Form
	s.AuthorizationEndpoint, s.TokenEndpoint = shown(m.AuthorizationEndpoint), shown(m.TokenEndpoint)
	s.RegistrationEndpoint, s.AuthMethods = shown(m.RegistrationEndpoint), list(m.TokenEndpointAuthMethodsSupported)
	s.Grants, s.Scopes = list(m.GrantTypesSupported), list(m.ScopesSupported)
	s.Iss, s.Documents = m.AuthorizationResponseIssParameterSupported, m.ClientIDMetadataDocumentSupported
	s.PAR = m.PushedAuthorizationRequestEndpoint != ""
	if err := m.PKCE(); err != nil {
		s.PKCE, s.PKCEAccepted = in.errs.from(err), in.config.InsecureAllowMissingPKCE
	}
	return s
}

// tryClient finds out which client a login would use, and what the authorization server makes of
// it.
func (in *inspector) tryClient(ctx context.Context) {
	if in.plan == nil {
		return
	}
	state := &loginState{credential: in.credential, rec: in.rec, plan: in.plan, byUser: true}
	login := codeLogin{newLoginFlow(state, true)}
	l := login.clients
	in.out.Plan = in.describePlan()
	if in.config.grantFor(in.rec) == nil {
		in.tryCallback(ctx, login.callback)
	}
	old := in.rec.NewestClient(in.plan.server.Issuer)
	in.out.NoCallback = old != nil && old.NoCallback
	if old != nil && !l.canReuse(old) {
		old = nil
	}
	in.out.LoginError = in.pickClient(ctx, l, old)
	if in.out.LoginError == nil && l.client != nil {
		in.out.LoginError = in.chooseMethod(l)
	}
	in.tryAuthorization(ctx, login)
	in.tryTokenEndpoint(ctx, l)
}

// pickClient sets the client of a login, but makes none: it finds out whether the server
// registers one. old is the stored client, if a login can use it.
func (in *inspector) pickClient(ctx context.Context, l *loginClients, old *record.Client) error {
	document := l.documentClient()
	switch l.clientSource(document, old) {
	case clientConfigured:
		return l.useConfigured(in.plan.server.Issuer)
	case clientDocument:
		l.client = document
	case clientStored:
		l.client = old
	case clientNew:
		in.tryRegistration(ctx, l)
	case clientByHand:
		return l.registrar().byHand("does not support dynamic client registration (RFC 7591)", nil)
	}
	return nil
}

// tryAuthorization finds out, as a login does, whether the authorization endpoint knows the client.
// Where requests are pushed, only a request that was begun could show that.
func (in *inspector) tryAuthorization(ctx context.Context, login codeLogin) {
	l := login.clients
	if l.client == nil || !l.canRegisterAnew() || in.config.grantFor(in.rec) != nil || in.out.Plan.Method == "" ||
		in.plan.server.PushedAuthorizationRequestEndpoint != "" {
		return
	}
	l.scope = strings.Join(in.plan.scopes, " ")
	rawURL, err := login.authorizationRequest(oauth.NewPKCE(), oauth.NewState()).URL()
	if err != nil {
		return
	}
	in.out.Authorization = &Trial{Sent: true}
	if rejected := l.probe().preflight(ctx, rawURL); rejected != nil {
		in.out.Authorization = in.trial(rejected)
		in.out.Authorization.Client, in.out.Authorization.Forgotten = true, l.client.Source == record.SourceDynamic
	}
}

func (in *inspector) describePlan() *LoginPlan {
	return &LoginPlan{Issuer: in.secrets.shown(in.plan.server.Issuer), issuer: in.plan.server.Issuer,
		Resource:       in.secrets.shown(in.plan.resource.Param()),
		ResourceReason: in.plan.resource.Reason, Scopes: in.secrets.shownList(in.plan.scopes), DPoP: in.plan.proofs}
}

// tryCallback listens where a login would, for a moment.
func (in *inspector) tryCallback(ctx context.Context, callback *callbackReceiver) {
	wanted, _ := callback.chooseRedirectURI()
	p := in.out.Plan
	if p.RedirectError = callback.open(ctx); p.RedirectError != nil {
		return
	}
	callback.close()
	p.RedirectURI = callback.redirectURI
	old := in.rec.NewestClient(in.plan.server.Issuer)
	p.RedirectMoved = old != nil && slices.Contains(old.RedirectURIs, wanted) && wanted != callback.redirectURI
}

// tryRegistration finds out whether the server registers clients.
func (in *inspector) tryRegistration(ctx context.Context, l *loginClients) {
	p, as := in.out.Plan, in.plan.server
	p.ClientSource, p.Registers = record.SourceDynamic, true
	p.Method = l.registrar().newNegotiation().terms.methods[0]
	p.MethodReason = "it is what the registration would request; the response decides"
	err := in.fetcher.ProbeRegistration(ctx, as.RegistrationEndpoint, l.registrar().initialAccessToken())
	in.out.Registration = in.trial(err)
	if err == nil { // it has registered a client
		in.out.Registration.Reason = "the server accepts even a registration that cannot be read"
	}
}

// chooseMethod decides how the client would authenticate.
func (in *inspector) chooseMethod(l *loginClients) error {
	p, as := in.out.Plan, in.plan.server
	p.ClientSource, p.ClientID, p.clientID = l.client.Source, in.secrets.shown(l.client.ID), l.client.ID
	choice, err := in.config.authMethodFor(l.client, as.TokenEndpointAuthMethodsSupported, as.TokenEndpointAuthSigningAlgValuesSupported)
	if err != nil {
		return &Error{Kind: ErrInvalidConfig, Server: in.serverURL, Err: err}
	}
	l.authMethod = choice
	p.Method, p.MethodReason = choice.method, choice.reason
	for _, f := range choice.next {
		p.NextMethods = append(p.NextMethods, f.method)
	}
	return nil
}

// tryTokenEndpoint sends a code that does not exist.
func (in *inspector) tryTokenEndpoint(ctx context.Context, l *loginClients) {
	if in.plan.server.TokenEndpoint == "" {
		return
	}
	if reason := in.noDryRun(l.client); reason != "" {
		in.out.TokenEndpoint = &Trial{Reason: reason}
		return
	}
	if l.client == nil || in.out.Plan.Method == "" {
		l.client = &record.Client{} // none is named
	}
	if err := l.prepareProofs(); err != nil {
		in.out.TokenEndpoint = &Trial{Reason: "no proof can be made", Err: err}
		return
	}
	err := in.tryMethods(ctx, l.tokenRequest(oauth.TokenRequest{
		Code: oauth.Secret(rand.Text()), Verifier: oauth.NewPKCE().Verifier,
		RedirectURI: cmp.Or(l.callback.redirectURI, hookRedirectURI),
	}, sendOnce))
	in.out.TokenEndpoint = in.trial(err)
	in.out.TokenEndpoint.explain(err, l.client)
}

// noDryRun returns why no code can be sent; "" if one can. A client ID metadata document is left
// out unless the server knows it by a login: it would have to fetch it.
func (in *inspector) noDryRun(c *record.Client) string {
	bound := in.rec.GrantClient()
	switch {
	case in.config.grantFor(in.rec) != nil:
		return "this login uses no authorization code, and each of its token requests would issue a token"
	case c != nil && c.Source == record.SourceMetadataDocument && (bound == nil || bound.ID != c.ID):
		return "the server would have to fetch the client's metadata document"
	case in.plan.proofs && in.rec.DPoP == nil:
		return "the server wants a proof with a key that the login makes"
	}
	return ""
}

// explain sets what the response to a made-up code means for a client, whose ID is "" if the request
// has named none.
func (t *Trial) explain(err error, client *record.Client) {
	rejected, ok := errtype.As[*oauth.Error](err)
	switch {
	case !ok:
	case rejected.Class() == oauth.ClassGrant:
		t.Err = nil // the client was authenticated, and only the code is wrong
	case rejected.Class() == oauth.ClassClient && client.ID != "":
		t.Client = true
		t.Forgotten = rejected.Structured() && client.Source == record.SourceDynamic
	}
	if client.ID == "" && ok && rejected.Class() != oauth.ClassTransient {
		t.Err, t.Reason = nil, "no client was named, as there is none yet" // but it is there
	}
}

// tryMethods sends a request in each form of authentication that is left while the server rejects
// the client, as a login does.
func (in *inspector) tryMethods(ctx context.Context, t *tokenRequest) error {
	first := t.form
	var firstErr error
	for {
		_, _, err := t.send(ctx)
		rejected, ok := errtype.As[*oauth.Error](err)
		if ok && rejected.Class() == oauth.ClassGrant && t.form != first {
			p := in.out.Plan
			p.MethodReason = "the server accepts it in the dry run, and rejects " + p.Method
			p.Method, p.NextMethods = t.form.method, nil
		}
		if firstErr == nil {
			firstErr = err
		}
		switch {
		case ok && rejected.Class() == oauth.ClassGrant:
			return err
		case len(t.next) == 0 || !mayBlameClient(err):
			return firstErr
		}
		t.form, t.next = t.next[0], t.next[1:]
	}
}

// trial describes the error of a request to the authorization server.
func (in *inspector) trial(err error) *Trial {
	t := &Trial{Sent: true}
	if rejected, ok := errtype.As[*oauth.Error](err); ok {
		t.Code, t.Status = rejected.Code, rejected.Status
	} else if passing, ok := errtype.As[*oauth.TransientError](err); ok {
		t.Status = passing.Status
	}
	if err != nil {
		t.Err = in.errs.from(err)
	}
	return t
}
