package handstamp

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// registrar registers the client of a login (RFC 7591), and has a stored client's registration
// changed so that it fits the login (RFC 7592).
type registrar struct {
	*loginState
	clients      *loginClients
	sharedScopes []string // of the shared registration that is replaced
}

// registerOnce registers a client. Of all processes that share the registration one does, and the
// others wait and use it.
func (r *registrar) registerOnce(ctx context.Context) error {
	shared := r.clients.shared()
	if shared == nil {
		return r.register(ctx)
	}
	found := func(rec *record.Record) bool { return shared.fitting(rec) != nil }
	unlock, rec, err := lockShared(ctx, shared.stored, found)
	if err != nil {
		return err
	}
	if unlock != nil {
		defer unlock()
	}
	if r.clients.client = shared.fitting(rec); r.clients.client != nil {
		return r.clients.chooseMethod()
	}
	if old := rec.NewestClient(r.plan.server.Issuer); old != nil {
		r.sharedScopes = strings.Fields(old.ScopeRequested)
	}
	return r.register(ctx)
}

// register registers a client (RFC 7591) and stores it at once, so that a login
// that comes to nothing does not register another one next time.
func (r *registrar) register(ctx context.Context) error {
	as := r.plan.server
	if err := r.keyUsable(); err != nil {
		return &Error{Kind: ErrInvalidConfig, Server: r.serverURL, Err: err}
	}
	reg, n, choice, err := r.obtain(ctx)
	if err != nil {
		r.outcomes.audit(AuditRegistration, kindOf(err), slog.String(AuditIssuer, as.Issuer))
		return err
	}
	r.clients.client = r.registered(reg, choice)
	r.clients.authMethod, r.clients.justRegistered, r.clients.clientProbed = choice, true, true
	r.clients.chosen()
	r.outcomes.audit(AuditRegistration, "registered",
		slog.String(AuditIssuer, as.Issuer), slog.String(AuditClientID, r.secrets.shown(reg.ClientID)))
	if err := r.clients.prepareRegisteredProofs(); err != nil {
		return err
	}
	omitted := oauth.Without(n.wish.scopes, n.terms.scopes)
	r.omitScopes(omitted)
	r.reportOmitted(omitted)
	if err := r.config.tellRegistration(ctx, r.clients.client); err != nil {
		return err
	}
	return r.store(ctx, n)
}

// obtain has the server register a client, and decides how that authenticates.
func (r *registrar) obtain(
	ctx context.Context,
) (reg *oauth.Registration, n *negotiation, choice authMethodChoice, err error) {
	as := r.plan.server
	reg, n, err = r.negotiate(ctx)
	if rejected, ok := errtype.As[*oauth.Error](err); ok && rejected.Class() != oauth.ClassTransient {
		e := r.registrationRequired(ctx, "rejects the registration of this client", err)
		return nil, n, choice, r.noteRejection(ctx, nil, as.RegistrationEndpoint, n.requests, e)
	}
	if err != nil {
		return nil, n, choice, r.onFailedRegistration(ctx, n.requests, err)
	}
	choice, err = chooseAuthMethod(authMethodInputs{
		registered: reg.TokenEndpointAuthMethod, requested: n.terms.methods[0], secret: reg.ClientSecret != "",
		key: r.config.Key != nil, cert: r.config.Certificate != nil,
		listed: as.TokenEndpointAuthMethodsSupported,
	})
	if err != nil {
		err = r.noteRejection(ctx, nil, as.RegistrationEndpoint, n.requests,
			&Error{Kind: ErrProtocol, Server: r.serverURL, Message: "the registration cannot work", Err: err})
	}
	return reg, n, choice, err
}

// registered returns the client that a registration response describes.
func (r *registrar) registered(reg *oauth.Registration, choice authMethodChoice) *record.Client {
	uris := reg.RedirectURIs
	if len(uris) == 0 && r.clients.callback.redirectURI != "" {
		uris = []string{r.clients.callback.redirectURI}
	}
	return &record.Client{
		Issuer: r.plan.server.Issuer, Source: record.SourceDynamic,
		ID: reg.ClientID, Secret: reg.ClientSecret, SecretExpiresAt: reg.SecretExpiresAt,
		Method: choice.method, MethodSource: choice.source,
		RedirectURIs:            uris,
		GrantTypes:              registeredGrants(r.config.Grant),
		RegistrationAccessToken: reg.RegistrationAccessToken,
		RegistrationClientURI:   reg.RegistrationClientURI,
		Response:                reg.Raw,
		KeyThumbprint:           keyThumbprint(r.config.Key, choice.method),
		RegisteredAt:            time.Now().UTC().Truncate(time.Second),
	}
}

// store stores the client that was just registered: with the login, and for all who share it.
func (r *registrar) store(ctx context.Context, n *negotiation) (err error) {
	if shared := r.clients.shared(); shared != nil {
		if r.clients.client, err = shared.put(ctx, r.clients.client, n); err != nil {
			return err
		}
	}
	r.rec, err = r.records.update(ctx, r.rec, func(rec *record.Record) error {
		n.keep(rec, r.clients.client)
		return nil
	})
	return err
}

// registrationScopes returns the scopes to register for: those of the login, and those that a
// shared registration had before.
func (r *registrar) registrationScopes() []string {
	scopes := strings.Fields(r.scope)
	return append(scopes, oauth.Without(r.sharedScopes, scopes)...)
}

// keep puts a client that was registered into a record, with what the negotiation has taught.
func (n *negotiation) keep(rec *record.Record, client *record.Client) {
	c := *client
	rec.AddClient(&c)
	learned := rec.LearnedOf(c.Issuer)
	if n.learn(&learned); !reflect.DeepEqual(learned, rec.LearnedOf(c.Issuer)) {
		rec.Learn(learned)
	}
}

// onFailedRegistration returns the error of a registration that brought no client. A
// response that cannot be used has a cooldown like a rejection, since each further one
// leaves a client at the server; one that names the time to come again has it until then.
func (r *registrar) onFailedRegistration(ctx context.Context, requests int, cause error) error {
	err := r.errs.from(cause)
	e, known := errtype.As[*Error](err)
	_, broken := errtype.As[*oauth.ProtocolError](cause)
	switch {
	case known && broken && e.Setting == "":
		return r.noteRejection(ctx, nil, r.plan.server.RegistrationEndpoint, requests, e)
	case known && !e.RetryAt.IsZero():
		return r.noteRejection(ctx, nil, r.plan.server.RegistrationEndpoint, 0, e)
	}
	return err
}

// registrationRequired returns the error that a client has to be registered by hand, and keeps
// the redirect URI that it names: the next login listens there.
func (r *registrar) registrationRequired(ctx context.Context, why string, cause error) *Error {
	r.clients.callback.forClient(ctx, false)
	r.learnOf(ctx, func(learned *record.Learned) { learned.NamedRedirectURI = r.clients.callback.redirectURI })
	return r.byHand(why, cause)
}

// byHand is registrationRequired without a trace in the record.
func (r *registrar) byHand(why string, cause error) *Error {
	e := &Error{Kind: ErrRegistrationRequired, Server: r.serverURL, Err: cause, RedirectURI: r.clients.callback.redirectURI,
		Message: oauth.Sanitize(r.plan.server.Issuer) + " " + why}
	there := "register a client there"
	if e.RedirectURI != "" {
		there += " with the redirect URI " + e.RedirectURI
	}
	e.Hint = there + ", then sign in with its client id"
	if rejected, ok := errtype.As[*oauth.Error](cause); ok {
		e.Code = rejected.Code
	}
	return e
}

// omitScopes has the login request less.
func (l *loginState) omitScopes(omitted []string) {
	l.scope = strings.Join(oauth.Without(strings.Fields(l.scope), omitted), " ")
	l.plan.fallback = oauth.Without(l.plan.fallback, omitted)
}

// reportOmitted tells the user of scopes that are not requested although they are
// configured.
func (l *loginState) reportOmitted(omitted []string) {
	if configured := oauth.Without(omitted, oauth.Without(omitted, l.config.Scopes)); len(configured) > 0 {
		l.notice("the authorization server rejects the scope %q, which is not requested", strings.Join(configured, " "))
	}
}

// tellRegistration gives the application a client that was registered, or whose registration has
// changed.
func (cfg *configuration) tellRegistration(ctx context.Context, c *record.Client) error {
	if cfg.OnRegister == nil {
		return nil
	}
	err := cfg.OnRegister(ctx, Registration{
		Issuer: c.Issuer, ClientID: c.ID, ClientSecret: c.Secret, SecretExpiresAt: c.SecretExpiresAt,
		TokenEndpointAuthMethod: c.Method, RedirectURIs: c.RedirectURIs, Response: c.Response,
	})
	if err != nil {
		return fmt.Errorf("handstamp: the application could not keep the registration: %w", err)
	}
	return nil
}

// keyThumbprint returns the thumbprint of a key if a client authenticates with it (RFC 7638), else
// "".
func keyThumbprint(key *clientkey.Key, method string) string {
	if key == nil || method != oauth.MethodPrivateKeyJWT {
		return ""
	}
	thumbprint, err := jose.Thumbprint(key.Public())
	if err != nil { // of a kind that has none
		return ""
	}
	return thumbprint
}
