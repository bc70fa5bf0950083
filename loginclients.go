package handstamp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// loginClients chooses, registers and tries the client of one login.
type loginClients struct {
	*loginState
	callback *callbackReceiver

	client          *record.Client
	authMethod      authMethodChoice
	justRegistered  bool   // the client was registered in this login
	clientProbed    bool   // the authorization endpoint was tried with the client
	unknownClientID string // the id of a client that the server seems not to know
}

func (l *loginClients) probe() clientProbe { return clientProbe{l.loginState, l} }

func (l *loginClients) registrar() *registrar {
	return &registrar{loginState: l.loginState, clients: l}
}

// choose decides as which client to sign in (MCP authorization, "Client
// Registration Approaches"): the configured one, else a client ID metadata
// document, else the one registered before, else a new registration.
func (l *loginClients) choose(ctx context.Context) error {
	if l.client != nil && l.client.ID != l.unknownClientID {
		return nil
	}
	document := l.documentClient()
	l.callback.forClient(ctx, true) // a shared registration is kept by its redirect URI
	old := l.storedClient(ctx, document)
	switch l.clientSource(document, old) {
	case clientConfigured:
		if err := l.useConfigured(l.plan.server.Issuer); err != nil {
			return err
		}
	case clientDocument:
		l.client = document
	case clientStored:
		l.client = old
	case clientByHand:
		return l.registrar().registrationRequired(ctx, "does not support dynamic client registration (RFC 7591)", nil)
	case clientNew:
		err := l.registrar().registerOnce(ctx)
		if !errors.Is(err, ErrRegistrationRequired) {
			return err
		}
		// What there was instead may be good after all.
		if l.client = document; document == nil {
			l.client = old
		}
		if l.client == nil {
			return err
		}
	}
	l.callback.forClient(ctx, l.client.Source == record.SourceDynamic)
	return l.chooseMethod()
}

// chooseMethod decides how the login's client authenticates.
func (l *loginClients) chooseMethod() error {
	as := l.plan.server
	choice, err := l.config.authMethodFor(l.client, as.TokenEndpointAuthMethodsSupported, as.TokenEndpointAuthSigningAlgValuesSupported)
	if err != nil {
		return &Error{Kind: ErrInvalidConfig, Server: l.serverURL, Err: err}
	}
	l.authMethod = choice
	l.client.Method, l.client.FormID, l.client.MethodSource = choice.method, choice.formID, choice.source
	l.chosen()
	return l.prepareRegisteredProofs()
}

// prepareRegisteredProofs requests bound tokens where the client is registered for them, whether or
// not the MCP server's challenge shows it: one for a request without a token may not.
func (l *loginClients) prepareRegisteredProofs() error {
	l.plan.proofs = l.config.DPoP.wants(l.plan.proofs || requiresProofs(l.client))
	return l.prepareProofs()
}

// requiresProofs reports whether the server has registered a client for bound tokens only (RFC 9449,
// section 5.2).
func requiresProofs(c *record.Client) bool {
	reg, err := oauth.ParseRegistration([]byte(c.Response.Reveal()))
	return err == nil && reg.DPoPBoundAccessTokens
}

// clientSource is where the client of a login comes from.
type clientSource int

const (
	clientConfigured clientSource = iota
	clientDocument                // the client ID metadata document
	clientStored                  // that of an earlier login
	clientNew                     // one that is registered now
	clientByHand                  // one that the user has to register first
)

// clientSource decides where the login's client comes from. The document and the client of an
// earlier login are nil where there is none that can be used.
func (l *loginClients) clientSource(document, old *record.Client) clientSource {
	issuer, anew := l.plan.server.Issuer, l.plan.server.RegistrationEndpoint != ""
	switch {
	case l.config.activeRegistration() != nil:
		return clientConfigured
	case document != nil && !(anew && l.rec.LearnedOf(issuer).NoMetadataDocument):
		return clientDocument
	case old != nil && !(anew && l.mayBeGone(old)):
		return clientStored
	case anew:
		return clientNew
	}
	return clientByHand
}

// storedClient returns the client of an earlier login, if it can be used for this one, as it is or
// with an updated registration; nil if there is none.
func (l *loginClients) storedClient(ctx context.Context, document *record.Client) *record.Client {
	if shared := l.shared(); shared != nil {
		return shared.client(ctx)
	}
	old := l.rec.NewestClient(l.plan.server.Issuer)
	if old == nil || l.canReuse(old) {
		return old
	}
	if document != nil || l.config.activeRegistration() != nil {
		return nil
	}
	return l.registrar().refit(ctx, old)
}

// useConfigured makes the configured client that of the login.
func (l *loginClients) useConfigured(issuer string) error {
	r := l.config.Registration
	if e := r.checkIssuer(l.rec, issuer); e != nil {
		e.Server = l.serverURL
		return e
	}
	l.client = r.clientAt(l.rec, issuer)
	if secretExpired(l.client, l.rec.Grant, time.Now()) {
		return &Error{Kind: ErrClientRejected, Server: l.serverURL,
			Message: fmt.Sprintf("the secret of the configured client %q expired at %s", l.client.ID, l.client.SecretExpiresAt.Format(time.RFC3339)),
			Hint:    "configure its new secret"}
	}
	return nil
}

// checkIssuer makes sure that the configured client can be used at issuer.
// Client credentials belong to one issuer: where the user did not say to which,
// it is the one where they were used first, and not whichever the server names
// later.
func (r *Registration) checkIssuer(rec *record.Record, issuer string) *Error {
	if r.ClientID == "" {
		return &Error{Kind: ErrInvalidConfig, Message: "the configured client has no client id"}
	}
	if r.Issuer != "" && !oauth.SameButSlash(r.Issuer, issuer) { // discovery leads nowhere else
		return &Error{Kind: ErrInvalidConfig,
			Message: fmt.Sprintf("the configured client belongs to %s, and not to %s; nothing was sent there", r.Issuer, oauth.Sanitize(issuer))}
	}
	if r.Issuer != "" || rec.Client(issuer, r.ClientID) != nil {
		return nil
	}
	for _, c := range rec.Clients {
		if c.ID == r.ClientID && !oauth.SameButSlash(c.Issuer, issuer) {
			return &Error{Kind: ErrProtocol,
				Message: fmt.Sprintf("the configured client was used at %s so far, but the server now names %s as its authorization server",
					oauth.Sanitize(c.Issuer), oauth.Sanitize(issuer)),
				Hint: "use a client that is registered there; this one's secret is sent only where it was used so far"}
		}
	}
	return nil
}

// clientAt returns the client at an issuer, with what was learned of it before.
func (r *Registration) clientAt(rec *record.Record, issuer string) *record.Client {
	c := &record.Client{Issuer: issuer, ID: r.ClientID}
	if old := rec.Client(issuer, r.ClientID); old != nil {
		*c = *old
		if old.Secret != r.ClientSecret {
			c.Method, c.MethodSource, c.FormID, c.Proven = "", "", false, false
		}
	}
	c.Source, c.Rejected = record.SourceConfigured, false
	c.Secret, c.SecretExpiresAt = r.ClientSecret, r.SecretExpiresAt
	c.Response = cmp.Or(r.Response, c.Response)
	if len(r.RedirectURIs) > 0 {
		c.RedirectURIs = r.RedirectURIs
	}
	return c
}

// documentClient returns the client that the configured client ID metadata document is
// at the login's issuer; nil if there is none, or the issuer has just rejected it.
func (l *loginClients) documentClient() *record.Client {
	id := l.config.ClientMetadataURL
	if id == "" || !l.plan.server.ClientIDMetadataDocumentSupported || id == l.unknownClientID {
		return nil
	}
	return &record.Client{
		Issuer: l.plan.server.Issuer, Source: record.SourceMetadataDocument, ID: id,
		Method: documentMethod(l.config.Key), MethodSource: record.MethodRegistered,
	}
}

// canReuse reports whether a client registered before can be used for this login.
func (l *loginClients) canReuse(c *record.Client) bool {
	if c.Rejected || c.ID == l.unknownClientID || secretExpired(c, nil, time.Now()) {
		return false
	}
	if c.Source == record.SourceDynamic &&
		(hasOtherKey(c, l.config.Key) || !slices.Equal(c.GrantTypes, registeredGrants(l.config.Grant))) {
		return false
	}
	if l.config.DPoP == DPoPNever && requiresProofs(c) {
		return false
	}
	return c.Source != record.SourceDynamic || len(c.RedirectURIs) == 0 ||
		slices.Contains(c.RedirectURIs, l.callback.redirectURI)
}

// mayBeGone reports whether there is a reason to register again although the issuer has
// never said that it does not know the client: the last login with it brought no
// callback, as at servers that say so on a page, or the issuer takes no client ID
// metadata documents.
func (l *loginClients) mayBeGone(c *record.Client) bool {
	switch c.Source {
	case record.SourceDynamic:
		return c.NoCallback
	case record.SourceMetadataDocument:
		return l.rec.LearnedOf(c.Issuer).NoMetadataDocument
	}
	return false
}

// onWrongClock begins a cooldown: another client would be rejected, too.
func (l *loginClients) onWrongClock(ctx context.Context, wrong *Error) error {
	subject := l.client
	if subject.Source == record.SourceDynamic {
		subject = nil // a login that no user has begun looks for that of a registration
	}
	return l.noteRejection(ctx, subject, l.plan.server.TokenEndpoint, max(l.requests, 1), wrong)
}

// onUnknown is called when the server does not know the client or does not
// accept its authentication. One that we registered gives way to a new
// registration, once; one that the user configured is the user's to change.
func (l *loginClients) onUnknown(ctx context.Context, rejected *oauth.Error) error {
	if l.canReplaceDocument() {
		l.notice("the authorization server rejects the client ID metadata document; registering a client")
		l.unknownClientID = l.client.ID
		l.learnOf(ctx, func(learned *record.Learned) { learned.NoMetadataDocument = true })
		return l.tryAgain(rejected)
	}
	if l.client.Source != record.SourceDynamic {
		return l.noteRejection(ctx, l.client, l.plan.server.TokenEndpoint, max(l.requests, 1), l.errs.clientRejected(l.client, rejected))
	}
	if l.justRegistered {
		return &Error{Kind: ErrProtocol, Server: l.serverURL, Code: rejected.Code, Err: rejected,
			Message: "the authorization server does not accept the client it has just registered"}
	}
	l.notice("the authorization server has forgotten this client; registering a new one")
	id, issuer := l.client.ID, l.client.Issuer
	l.unknownClientID = id
	if !rejected.Structured() {
		// Enough to try another client, but the stored one may still refresh the
		// login at hand, if this one comes to nothing.
		return l.tryAgain(rejected)
	}
	reject := func(rec *record.Record) error {
		if c := rec.Client(issuer, id); c != nil {
			c.Rejected = true
		}
		return nil
	}
	var err error
	if l.rec, err = l.records.update(ctx, l.rec, reject); err != nil {
		return err
	}
	if err := l.shared().reject(ctx, id, reject); err != nil {
		return err
	}
	return l.tryAgain(rejected)
}

// canReplaceDocument reports whether the client is a client ID metadata document, and a
// registration can take its place.
func (l *loginClients) canReplaceDocument() bool {
	return l.client.Source == record.SourceMetadataDocument && l.plan.server.RegistrationEndpoint != ""
}

// canRegisterAnew reports whether another client can take the place of the one that the
// login uses, if that is why the user sees an error.
func (l *loginClients) canRegisterAnew() bool {
	return l.canReplaceDocument() ||
		l.client.Source == record.SourceDynamic && !l.justRegistered && l.plan.server.RegistrationEndpoint != ""
}

// tokenRequest returns a request to the token endpoint with the login's client.
func (l *loginClients) tokenRequest(redeem oauth.TokenRequest, repeat repetition) *tokenRequest {
	redeem.Endpoint = l.plan.server.TokenEndpoint
	if l.prover != nil {
		redeem.Prover = l.prover
	}
	return &tokenRequest{credential: l.credential, tokenGrant: tokenGrant{
		redeem: redeem, client: l.client, algs: l.plan.server.TokenEndpointAuthSigningAlgValuesSupported,
		form: l.authMethod.authForm, next: l.authMethod.next, resource: l.plan.resource, repeat: repeat,
	}}
}

// authenticate has try send a request to an endpoint as the login's client, in each form of
// authentication that is left while the server's error may be about that. The login goes on in the
// form that worked.
func (l *loginClients) authenticate(endpoint string, try func(oauth.Authenticator) error) error {
	as, method := l.plan.server, l.authMethod
	for {
		err := try(l.config.credentials(method.authForm, l.client, endpoint, as.TokenEndpoint, as.TokenEndpointAuthSigningAlgValuesSupported))
		if err == nil {
			l.authMethod = method
		}
		if err == nil || len(method.next) == 0 || !mayBlameClient(err) {
			return err
		}
		method.authForm, method.next = method.next[0], method.next[1:]
		l.events.decide(StepAuthMethod, aboutAuthMethod, method.String(), "the server rejected the client: the next one is tried")
	}
}

// learnMethod has the login go on in the form of authentication that the server has accepted.
func (l *loginClients) learnMethod(t *tokenRequest) {
	l.client.Method, l.client.FormID, l.client.MethodSource = t.form.method, t.form.formID, record.MethodLearned
	l.authMethod = authMethodChoice{
		authForm: t.form, source: record.MethodLearned, reason: authMethodReason(record.MethodLearned), next: t.next,
	}
}
