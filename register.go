package handstamp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// chooseClient decides as which client to sign in (MCP authorization, "Client
// Registration Approaches"): the configured one, else a client ID metadata
// document, else the one registered before, else a new registration.
func (l *loginFlow) chooseClient(ctx context.Context) error {
	if l.client != nil && l.client.ID != l.unknownClientID {
		return nil
	}
	as := l.plan.server
	old := l.rec.NewestClient(as.Issuer)
	switch {
	case l.activeRegistration() != nil:
		if err := l.checkRegistration(as.Issuer); err != nil {
			return err
		}
		l.client = l.configuredClient(as.Issuer)
		if secretExpired(l.client, l.rec.Grant, time.Now()) {
			return &Error{Kind: ErrClientRejected, Server: l.serverURL,
				Message: fmt.Sprintf("the secret of the configured client %q ended at %s", l.client.ID, l.client.SecretExpiresAt.Format(time.RFC3339)),
				Hint:    "configure its new secret"}
		}
	case l.c.ClientMetadataURL != "" && as.ClientIDMetadataDocumentSupported:
		l.client = &store.Client{
			Issuer: as.Issuer, Source: store.SourceMetadataDocument, ID: l.c.ClientMetadataURL,
			Method: oauth.MethodNone, MethodSource: store.MethodRegistered,
		}
	case old != nil && l.canReuse(old):
		l.client = old
	case as.RegistrationEndpoint != "":
		return l.register(ctx)
	default:
		return l.registrationRequired(ctx, "lets no client register itself", nil)
	}
	choice, err := chooseAuthMethod(l.authMethodInputs(l.client, as.TokenEndpointAuthMethodsSupported))
	if err != nil {
		return &Error{Kind: ErrUsage, Server: l.serverURL, Err: err}
	}
	l.authMethod = choice
	l.client.Method, l.client.FormID, l.client.MethodSource = choice.method, choice.formID, choice.source
	return nil
}

// checkRegistration makes sure that the configured client can be used at issuer.
// Client credentials belong to one issuer: where the user did not say to which,
// it is the one where they were used first, and not whichever the server names
// later.
func (l *loginFlow) checkRegistration(issuer string) error {
	r := l.c.Registration
	if r.ClientID == "" {
		return &Error{Kind: ErrUsage, Server: l.serverURL, Message: "the configured client has no client id"}
	}
	if r.Issuer != "" && !sameIssuer(r.Issuer, issuer) { // discovery leads nowhere else
		return &Error{Kind: ErrUsage, Server: l.serverURL,
			Message: fmt.Sprintf("the configured client belongs to %s, and not to %s; nothing was sent there", r.Issuer, oauth.Sanitize(issuer))}
	}
	if r.Issuer != "" || l.rec.Client(issuer, r.ClientID) != nil {
		return nil
	}
	for _, c := range l.rec.Clients {
		if c.ID == r.ClientID && !sameIssuer(c.Issuer, issuer) {
			return &Error{Kind: ErrProtocol, Server: l.serverURL,
				Message: fmt.Sprintf("the configured client was used at %s so far, but the server now names %s as its authorization server",
					oauth.Sanitize(c.Issuer), oauth.Sanitize(issuer)),
				Hint: "use a client that is registered there; this one's secret is sent only where it was used so far"}
		}
	}
	return nil
}

// configuredClient returns the client that the user configured, with what was
// learned of it before.
func (s *loginFlow) configuredClient(issuer string) *store.Client {
	r := s.c.Registration
	c := &store.Client{Issuer: issuer, ID: r.ClientID}
	if old := s.rec.Client(issuer, r.ClientID); old != nil {
		*c = *old
		if old.Secret != r.ClientSecret {
			c.Method, c.MethodSource, c.FormID, c.Proven = "", "", false, false
		}
	}
	c.Source, c.Refused = store.SourceConfigured, false
	c.Secret, c.SecretExpiresAt = r.ClientSecret, r.SecretExpiresAt
	if len(r.RedirectURIs) > 0 {
		c.RedirectURIs = r.RedirectURIs
	}
	return c
}

// canReuse reports whether a client registered before can be used for this login.
func (l *loginFlow) canReuse(c *store.Client) bool {
	if c.Refused || c.ID == l.unknownClientID || secretExpired(c, nil, time.Now()) {
		return false
	}
	if c.Source != store.SourceDynamic || len(c.RedirectURIs) == 0 {
		return true
	}
	for _, uri := range c.RedirectURIs {
		if uri == l.callback.redirectURI {
			return true
		}
	}
	return false
}

// register registers a client (RFC 7591) and stores it at once, so that a login
// that comes to nothing does not register another one next time.
func (l *loginFlow) register(ctx context.Context) error {
	as := l.plan.server
	reg, n, err := l.negotiate(ctx)
	var rejected *oauth.Error
	if errors.As(err, &rejected) && rejected.Class() != oauth.ClassTransient {
		e := l.registrationRequired(ctx, "rejects the registration of this client", err)
		return l.noteRejection(ctx, nil, as.RegistrationEndpoint, n.requests, e)
	}
	if err != nil {
		return l.asError(err)
	}
	requested := n.terms.methods[0]
	choice, err := chooseAuthMethod(authMethodInputs{
		registered: reg.TokenEndpointAuthMethod, requested: requested, secret: reg.ClientSecret != "",
		listed: as.TokenEndpointAuthMethodsSupported,
	})
	if err != nil {
		return &Error{Kind: ErrProtocol, Server: l.serverURL, Message: "the registration cannot work", Err: err}
	}
	uris := reg.RedirectURIs
	if len(uris) == 0 {
		uris = []string{l.callback.redirectURI}
	}
	l.client = &store.Client{
		Issuer: as.Issuer, Source: store.SourceDynamic,
		ID: reg.ClientID, Secret: reg.ClientSecret, SecretExpiresAt: reg.SecretExpiresAt,
		Method: choice.method, MethodSource: choice.source,
		RedirectURIs:            uris,
		RegistrationAccessToken: reg.RegistrationAccessToken,
		RegistrationClientURI:   reg.RegistrationClientURI,
		Response:                reg.Raw,
		RegisteredAt:            time.Now().UTC().Truncate(time.Second),
	}
	l.authMethod, l.justRegistered, l.clientProbed = choice, true, true
	l.scope = strings.Join(n.terms.scopes, " ")
	l.plan.fallback = omitScopes(l.plan.fallback, omitScopes(n.wish.scopes, n.terms.scopes))
	if tell := l.c.OnRegister; tell != nil {
		err := tell(ctx, Registration{
			Issuer: as.Issuer, ClientID: reg.ClientID, ClientSecret: reg.ClientSecret, SecretExpiresAt: reg.SecretExpiresAt,
			TokenEndpointAuthMethod: choice.method, RedirectURIs: uris, Response: reg.Raw,
		})
		if err != nil {
			return fmt.Errorf("handstamp: the application could not keep the registration: %w", err)
		}
	}
	l.rec, err = l.update(ctx, l.rec, func(rec *store.Record) error {
		c := *l.client
		rec.AddClient(&c)
		learned := rec.LearnedOf(as.Issuer)
		if n.learn(&learned); !reflect.DeepEqual(learned, rec.LearnedOf(as.Issuer)) {
			rec.Learn(learned)
		}
		return nil
	})
	return err
}

// registrationRequired says that a client has to be registered by hand, and keeps the
// redirect URI that it names: the next login listens there.
func (l *loginFlow) registrationRequired(ctx context.Context, why string, cause error) *Error {
	e := &Error{Kind: ErrRegistrationRequired, Server: l.serverURL, Err: cause, RedirectURI: l.callback.redirectURI,
		Message: oauth.Sanitize(l.plan.server.Issuer) + " " + why,
		Hint:    fmt.Sprintf("register a client there with the redirect URI %s, then sign in with its client id", l.callback.redirectURI)}
	var rejected *oauth.Error
	if errors.As(cause, &rejected) {
		e.Code = rejected.Code
	}
	l.learnOf(ctx, func(learned *store.Learned) { learned.NamedRedirectURI = l.callback.redirectURI })
	return e
}

// onUnknownClient is called when the server does not know the client or does not
// accept its authentication. One that we registered gives way to a new
// registration, once; one that the user configured is the user's to change.
func (l *loginFlow) onUnknownClient(ctx context.Context, refused *oauth.Error) error {
	if l.client.Source != store.SourceDynamic {
		return l.noteRejection(ctx, l.client, l.plan.server.TokenEndpoint, max(l.sent, 1), l.clientRejectedError(l.client, refused))
	}
	if l.justRegistered {
		return &Error{Kind: ErrProtocol, Server: l.serverURL, Code: refused.Code, Err: refused,
			Message: "the authorization server does not accept the client it has just registered"}
	}
	l.notice("the authorization server has forgotten this client; registering anew")
	id, issuer := l.client.ID, l.client.Issuer
	l.unknownClientID = id
	if !refused.Structured() {
		// Enough to try another client, but the stored one may still renew the
		// login at hand, if this one comes to nothing.
		return l.tryAgain(refused)
	}
	var err error
	l.rec, err = l.update(ctx, l.rec, func(rec *store.Record) error {
		if c := rec.Client(issuer, id); c != nil {
			c.Refused = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.tryAgain(refused)
}

// probeAuthMethod asks the token endpoint, with a made-up code, whether a method
// that was chosen by default is right, before a person is sent to the browser:
// invalid_grant means that the client was authenticated (RFC 6749, section 5.2).
// It asks only where the server lists several, of a client that it has not
// registered just now.
func (l *loginFlow) probeAuthMethod(ctx context.Context) error {
	listed := l.plan.server.TokenEndpointAuthMethodsSupported
	methods := slices.DeleteFunc(oauth.Candidates(listed, l.client.Secret != ""), func(m string) bool {
		return listed != nil && !slices.Contains(listed, m)
	})
	if l.authMethod.source != store.MethodDefault || l.client.Source == store.SourceDynamic || len(methods) < 2 {
		return nil
	}
	t := &tokenRequest{
		redeem: oauth.TokenRequest{
			Endpoint: l.plan.server.TokenEndpoint, Code: oauth.Secret(rand.Text()),
			RedirectURI: l.callback.redirectURI, Verifier: oauth.NewPKCE().Verifier,
		},
		client: l.client, form: l.authMethod.authForm, next: l.authMethod.next, resource: l.plan.resource,
	}
	unnamed := false // one of the rejections was not about the client
	for {
		_, _, err := t.send(ctx, l.fetcher, nil)
		l.sent++
		rejected, ok := errors.AsType[*oauth.Error](err)
		switch {
		case !ok:
			return nil
		case rejected.Class() == oauth.ClassGrant:
			if t.sent > 1 {
				l.log.Info("learned the token endpoint auth method", "method", t.form.method)
			}
			l.client.Method, l.client.FormID, l.client.MethodSource = t.form.method, t.form.formID, store.MethodLearned
			l.authMethod = authMethodChoice{
				authForm: t.form, source: store.MethodLearned, reason: authMethodReason(store.MethodLearned), next: t.next,
			}
			return nil
		case !mayBlameClient(rejected):
			return nil
		}
		unnamed = unnamed || rejected.Class() == oauth.ClassOther
		if !t.nextForm(rejected) {
			if unnamed {
				return nil
			}
			return l.onUnknownClient(ctx, rejected)
		}
	}
}

// preflightTimeout bounds the question whether the authorization endpoint knows
// the client; no answer is as good as yes.
const preflightTimeout = 5 * time.Second

// probeClient asks the authorization endpoint whether it still knows a client
// that was registered earlier. Many servers forget clients and tell it only to
// the person, on a page that never redirects.
func (l *loginFlow) probeClient(ctx context.Context, rawURL string) error {
	if l.clientProbed || l.client.Source != store.SourceDynamic {
		return nil
	}
	l.clientProbed = true
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Purpose", "prefetch")
	req.Header.Set("User-Agent", userAgent)
	resp, err := l.fetcher.HTTP.RoundTrip(req)
	if err != nil {
		return nil
	}
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity:
		return l.onUnknownClient(ctx, &oauth.Error{Status: resp.StatusCode, Endpoint: "authorization"})
	case http.StatusFound, http.StatusSeeOther:
		to, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || !strings.HasPrefix(resp.Header.Get("Location"), l.callback.redirectURI) {
			return nil
		}
		refused := &oauth.Error{Code: to.Query().Get("error"), Endpoint: "authorization"}
		if refused.Code != "" && refused.Class() == oauth.ClassClient {
			return l.onUnknownClient(ctx, refused)
		}
	}
	return nil
}
