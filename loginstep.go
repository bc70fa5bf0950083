package handstamp

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// LoginStep is how far a login has come that [Client.BeginLogin] has begun.
type LoginStep struct {
	// Result is set if the login is complete. Otherwise the user has to open Request.URL, and the
	// response that comes to Request.RedirectURI is for [Client.CompleteLogin].
	Result  *LoginResult
	Request AuthorizationRequest

	// Suspended is what CompleteLogin continues with. It has the PKCE verifier, and may have the
	// client's secret: keep it where the credentials are kept, for as long as the user may take,
	// and use it once.
	Suspended secret.String
}

// BeginLogin is [Client.Login] for an application that receives the callback itself, in another
// process perhaps: it returns as soon as the user has to be sent to the authorization server.
// RedirectURI has to be set, and Prompt is not used. A stored login that works is a step with a
// Result.
//
// The application has to make sure that the response comes from the browser of the user who began
// the login, by something in the session of both: or an attacker could have a user complete the
// attacker's login, and use the attacker's account from then on. Package hosted does that, and
// keeps the step, for applications with a database. It also has a redirect URI for each authorization
// server, which an application needs that signs users in at servers it does not know: some send no
// iss (RFC 9700, section 4.4).
func (c *Client) BeginLogin(
	ctx context.Context, serverURL string, o LoginOptions,
) (*LoginStep, error) {
	s, err := c.session(serverURL)
	if err != nil {
		return nil, err
	}
	waits := 0
	req, already, err := s.neededLogin(ctx, o, &waits)
	if err != nil {
		return nil, err
	}
	if already {
		return s.completed(ctx, &LoginResult{Already: true})
	}
	req.suspends, req.since = true, time.Now()
	return s.step(ctx, req, &waits, (*logins).loginLocked)
}

// CompleteLogin continues a login with the response to its authorization request: the query
// parameters with which the user's browser came to the redirect URI. It exchanges the code, stores
// the login, and makes one request to the MCP server with it: if that rejects the token,
// [LoginResult].Rejected is set. suspended is [LoginStep].Suspended of the step whose
// Request.State is the parameter state of the response.
//
// The step that it returns has a Result, or another request: where the authorization server has
// rejected something that can be left out, the user is sent there once more. The end of ctx does not
// end a login whose code may have been sent.
//
// An error response is [ErrDenied], with [Error.Code], unless it is about the client
// ([ErrClientRejected]), about a configured scope or resource ([ErrInvalidConfig]), or transient
// ([ErrUnreachable]). A response with another state or issuer is [ErrProtocol]. A value of suspended
// that is malformed, or of another profile, is ErrInvalidConfig. The other errors are those of
// [Client.Login].
func (c *Client) CompleteLogin(
	ctx context.Context, suspended secret.String, response url.Values,
) (*LoginStep, error) {
	saved, err := record.Decode([]byte(suspended.Reveal()))
	if err != nil || saved.Suspended == nil || len(saved.Clients) != 1 ||
		saved.AuthorizationServer == nil {
		return nil, &Error{Kind: ErrInvalidConfig, Message: "this is not a suspended login"}
	}
	s, err := c.session(saved.ServerURL)
	if err != nil {
		return nil, err
	}
	if s.records.key != saved.Key {
		return nil, &Error{Kind: ErrInvalidConfig, Server: saved.ServerURL,
			Message: "the suspended login is of another profile"}
	}
	req := loginRequest{interactive: true, byUser: true, force: true, suspends: true, since: time.Now()}
	waits := 0
	return s.step(context.WithoutCancel(ctx), req, &waits,
		func(l *logins, ctx context.Context, rec *record.Record, req loginRequest) (*cachedToken, error) {
			return l.continueLocked(ctx, rec, req, saved, response)
		})
}

// step goes on with a login under its lock, until it is complete or waits for the user. Close waits
// for it.
func (s *session) step(
	ctx context.Context, req loginRequest, waits *int,
	locked func(*logins, context.Context, *record.Record, loginRequest) (*cachedToken, error),
) (*LoginStep, error) {
	if !s.config.start() {
		return nil, closedError()
	}
	defer s.config.running.end()
	ctx, cancel := awake.WithTimeout(ctx, s.config.LoginTimeout, errLoginTimeout)
	defer cancel()
	unlock, rec, err := s.lockStep(ctx, req)
	if err != nil {
		return nil, err
	}
	held, report := s.logins.holding()
	defer report()
	defer unlock()
	if err := s.noRedirect(rec); err != nil {
		return nil, err
	}
	snap, err := locked(held, ctx, rec, req)
	if waiting, ok := errtype.As[*suspension](err); ok {
		return waiting.step()
	}
	if err != nil {
		return nil, err
	}
	result := new(LoginResult)
	s.tryLogin(ctx, snap, waits, result)
	return s.completed(ctx, result)
}

// lockStep waits for the lock of a step, until the Client is closed.
func (s *session) lockStep(
	ctx context.Context, req loginRequest,
) (unlock func(), rec *record.Record, err error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.config.closing, cancel)()
	never := func(*record.Record) bool { return false }
	unlock, rec, err = s.logins.lock(waiting, store.LockLogin, req, never)
	switch {
	case err == nil:
		return unlock, rec, nil
	case s.config.closing.Err() != nil && ctx.Err() == nil:
		return nil, nil, closedError()
	}
	return nil, nil, s.logins.endError(ctx, err)
}

// noRedirect returns an error for a grant in which no browser comes back to the application.
func (s *session) noRedirect(rec *record.Record) error {
	switch s.config.grantFor(rec).(type) {
	case DeviceCode, Enterprise:
		return &Error{Kind: ErrInvalidConfig, Server: s.serverURL, Hint: "use Client.Login",
			Message: "a login with this grant has no steps"}
	}
	return nil
}

// completed returns the last step of a login.
func (s *session) completed(ctx context.Context, result *LoginResult) (*LoginStep, error) {
	if err := s.report(ctx, result); err != nil {
		return nil, err
	}
	return &LoginStep{Result: result}, nil
}

// suspension is not an error: it ends an attempt that waits for the user, who is another process's.
type suspension struct {
	login   codeLogin
	request *codeRequest
}

func (*suspension) Error() string { return "handstamp: the login waits for the user" }

// step returns what another process continues with.
func (w *suspension) step() (*LoginStep, error) {
	l, r := w.login, w.request
	client := *l.clients.client
	// The form of authentication that a pushed request has shown to be right.
	form := l.clients.authMethod.authForm
	if form.method != client.Method || form.formID != client.FormID || form.forEndpoint {
		form.learn(&client)
		client.Proven = l.clients.client.Proven
	}
	as := l.plan.server
	saved := &record.Record{
		Key: l.records.key, ServerURL: l.serverURL, Clients: []*record.Client{&client},
		AuthorizationServer: serverRecord(as, l.server.privateNetwork.Load()),
		Suspended: &record.SuspendedLogin{
			At: time.Now().UTC(), State: secret.String(r.State), Issuer: as.ExpectedIss(), Nonce: l.identity.nonce,
			Verifier:    r.pkce.Verifier,
			RedirectURI: r.RedirectURI, Scope: l.scope, Fallback: l.plan.fallback,
			Resource:  l.plan.resource,
			ACRValues: l.plan.acrValues, MaxAge: l.plan.maxAge, Forced: l.forced,
			Proofs: l.plan.proofs, ProofAlgorithms: l.plan.algs,
			Attempts: l.attempts, Requests: l.requests,
			Registered: l.clients.justRegistered, UnknownClientID: l.clients.unknownClientID,
		},
	}
	if l.prover != nil {
		saved.DPoP = l.prover.state()
	}
	encoded, err := record.Encode(saved)
	if err != nil {
		return nil, l.errs.from(err)
	}
	step := &LoginStep{Request: r.AuthorizationRequest, Suspended: secret.String(encoded)}
	return step, nil
}

// continueLocked continues a suspended login, and reports how it ended as loginLocked does.
func (l *logins) continueLocked(
	ctx context.Context, rec *record.Record, req loginRequest, saved *record.Record, response url.Values,
) (*cachedToken, error) {
	flow, request, err := l.restore(ctx, rec, saved)
	if err == nil {
		rec, err = flow.run(ctx, func(ctx context.Context) error {
			return flow.responded(ctx, request, response)
		})
	}
	if _, ok := errtype.As[*suspension](err); ok {
		return nil, err
	}
	return l.end(ctx, rec, req, err)
}

// restore returns the flow of a suspended login as it was, with the record as it is now.
func (l *logins) restore(
	ctx context.Context, rec, saved *record.Record,
) (codeLogin, *codeRequest, error) {
	was := saved.Suspended
	if saved.AuthorizationServer.PrivateNetwork {
		l.server.privateNetwork.Store(true)
	}
	server, err := l.discovery.metadataOf(ctx, saved)
	if err != nil {
		return codeLogin{}, nil, l.errs.from(err)
	}
	server.CallbackIssuer = was.Issuer
	state := &loginState{
		credential: l.credential, rec: rec, byUser: true, forced: was.Forced, suspends: true,
		scope: was.Scope, attempts: was.Attempts - 1, requests: was.Requests,
		plan: &loginPlan{
			server: server, resource: was.Resource, fallback: was.Fallback,
			acrValues: was.ACRValues, maxAge: was.MaxAge,
			proofs: was.Proofs, algs: was.ProofAlgorithms,
		},
	}
	if was.Proofs && saved.DPoP != nil {
		state.prover = new(proofs)
		state.prover.use(saved.DPoP)
	}
	flow := codeLogin{newLoginFlow(state, true)}
	flow.callback.redirectURI, flow.browserOpened = was.RedirectURI, true
	flow.identity.nonce = was.Nonce
	clients := flow.clients
	clients.client = l.config.withConfiguredSecret(saved.Clients[0])
	clients.clientProbed, clients.justRegistered = true, was.Registered
	clients.unknownClientID = was.UnknownClientID
	if err := clients.chooseMethod(); err != nil {
		return codeLogin{}, nil, err
	}
	return flow, &codeRequest{
		AuthorizationRequest: AuthorizationRequest{
			ServerURL: l.serverURL, Issuer: server.Issuer, RedirectURI: was.RedirectURI,
			State: was.State.Reveal(), Scope: was.Scope,
		},
		pkce: oauth.PKCE{Verifier: was.Verifier},
	}, nil
}

// metadataOf returns the metadata with which a login was suspended.
func (d *discovery) metadataOf(ctx context.Context, saved *record.Record) (*oauth.ServerMetadata, error) {
	as := saved.AuthorizationServer
	saved.Grant = &record.Grant{Issuer: as.Issuer}
	server := storedMetadata(saved)
	if server == nil { // there is no document
		return d.metadataAgain(ctx, saved)
	}
	return d.forCertificate(server), nil
}

// responded goes on with the response to the request of a suspended login.
func (l codeLogin) responded(ctx context.Context, r *codeRequest, response url.Values) error {
	code, err := oauth.ParseCallback(response, l.expectedCallback(r))
	l.events.callback(response, err)
	var rejected *oauth.Error
	switch {
	case errors.Is(err, oauth.ErrStateMismatch):
		return protocolError(l.serverURL, err)
	case errors.As(err, &rejected) && rejected.Class() == oauth.ClassClient &&
		l.clients.shared() != nil:
		// A user can make this up, and the client is that of all. If it is true, the next login
		// finds out by a request of its own.
		return &Error{Kind: ErrClientRejected, Server: l.serverURL, Code: rejected.Code, Err: err,
			Message: "the authorization server rejected the client", Hint: "start the login again"}
	case ctx.Err() == nil:
		pendingLogin(l).end(ctx)
	}
	return l.received(ctx, r, code, err)
}
