package handstamp

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

const (
	// maxRegistrations bounds the registration requests of one login.
	maxRegistrations = 8

	// maxScopeSteps bounds how often single scopes are left out before all are.
	maxScopeSteps = 3

	// maxRegistrationWait is the longest Retry-After that a login waits for, with the
	// user in front of it.
	maxRegistrationWait = 30 * time.Second
)

// registrationTerms are what a client requests in a registration (RFC 7591 section 2),
// as far as it can be given up. Of a list of alternatives the first is requested, and
// the others are left to try.
type registrationTerms struct {
	scopes        []string
	grants        [][]string
	methods       []string
	types         []string // of application_type; "" omits it
	redirectHosts []string // nil: the redirect URI is not ours to change
}

// negotiation is the state of a registration that the server may reject in parts:
// each rejection takes away what it names, or else what it may have meant.
type negotiation struct {
	wish, terms registrationTerms
	scopeSteps  int
	requests    int

	last    *oauth.RegistrationError
	before  *registrationTerms // the terms before a guess
	guessed []string           // the members that were guessed at
}

// newNegotiation returns the terms to begin with: what was learned of the issuer comes
// before what Handstamp would request.
func (r *registrar) newNegotiation() *negotiation {
	as := r.plan.server
	learned := r.rec.LearnedOf(as.Issuer)
	wish := registrationTerms{
		scopes:  r.registrationScopes(),
		grants:  grantAlternatives(as.GrantTypesSupported),
		methods: methodAlternatives(as.TokenEndpointAuthMethodsSupported),
		types:   []string{"web", "native", ""},
	}
	if r.clients.callback.redirectURI == "" || oauth.IsLoopbackURI(r.clients.callback.redirectURI) {
		wish.types = []string{"native", "web", ""}
	}
	if r.clients.callback.ownsRedirectURI() {
		wish.redirectHosts = []string{"127.0.0.1", "localhost"}
		if u, err := url.Parse(r.clients.callback.redirectURI); err == nil {
			wish.redirectHosts = firstOf(wish.redirectHosts, u.Hostname())
		}
	}
	if strong := r.strongMethod(); strong != "" {
		wish.methods = append([]string{strong}, wish.methods...)
	}
	wish.methods = firstOf(wish.methods, learned.Method)
	wish.types = firstOf(wish.types, learned.ApplicationType)
	if learned.NoApplicationType {
		wish.types = []string{""}
	}
	if grants := registeredGrants(r.config.Grant); grants != nil {
		wish.grants = [][]string{grants}
	} else if len(learned.GrantTypes) > 0 {
		wish.grants = [][]string{learned.GrantTypes}
	}
	return &negotiation{wish: wish, terms: wish}
}

// grantAlternatives returns the grants to register for: those that Handstamp uses, else
// those among them that the server lists, else the one it cannot do without.
func grantAlternatives(listed []string) [][]string {
	all := []string{"authorization_code", "refresh_token"}
	some := oauth.Without(all, oauth.Without(all, listed))
	if len(some) == 1 {
		return [][]string{all, some}
	}
	return [][]string{all, {"authorization_code"}}
}

// registeredGrants returns the grants to register for where there is no browser; nil with one.
func registeredGrants(grant Grant) []string {
	switch grant.(type) {
	case nil:
		return nil
	case DeviceCode:
		return []string{grantDeviceCode, "refresh_token"}
	}
	return []string{grant.grantType()}
}

// strongMethod returns the listed method with which a client authenticates by its key or its
// certificate; "" if there is none.
func (r *registrar) strongMethod() string {
	listed := r.plan.server.TokenEndpointAuthMethodsSupported
	for _, method := range []string{oauth.MethodPrivateKeyJWT, oauth.MethodTLS} {
		at := authMethodInputs{key: r.config.Key != nil, cert: r.config.Certificate != nil}
		if slices.Contains(listed, method) && at.supports(method) == nil {
			return method
		}
	}
	return ""
}

// keyUsable returns an error if the server takes client assertions and none that the configured key
// can sign.
func (r *registrar) keyUsable() error {
	if r.config.Key == nil || r.strongMethod() != oauth.MethodPrivateKeyJWT {
		return nil
	}
	_, err := r.config.Key.AlgorithmFor(r.plan.server.TokenEndpointAuthSigningAlgValuesSupported)
	return err
}

// describeKeys completes a registration request with what its method needs, and with what the
// server needs to trust the software.
func (r *registrar) describeKeys(request *oauth.RegistrationRequest) {
	switch request.TokenEndpointAuthMethod {
	case oauth.MethodPrivateKeyJWT:
		request.JWKS = r.config.Key.JWKS()
	case oauth.MethodTLS:
		if leaf, err := x509.ParseCertificate(r.config.Certificate.Certificate[0]); err == nil {
			request.TLSSubject = leaf.Subject.String()
		}
	}
	request.InitialAccessToken, request.SoftwareStatement = r.initialAccessToken(), r.config.SoftwareStatement
}

// initialAccessToken returns the configured token. It is not for an issuer that only the MCP server
// names, after clients of the server were registered at another one.
func (r *registrar) initialAccessToken() oauth.Secret {
	if r.config.AuthorizationServer == nil && slices.ContainsFunc(r.rec.Clients, func(c *record.Client) bool {
		return c.Source == record.SourceDynamic && !oauth.SameButSlash(c.Issuer, r.plan.server.Issuer)
	}) {
		return ""
	}
	return r.config.InitialAccessToken
}

// methodAlternatives returns the methods to register for, those that the server lists
// before the others.
func methodAlternatives(listed []string) []string {
	all := []string{oauth.MethodNone, oauth.MethodPost, oauth.MethodBasic}
	unlisted := oauth.Without(all, listed)
	return firstOf(append(oauth.Without(all, unlisted), unlisted...), oauth.RegistrationMethod(listed))
}

// firstOf returns the alternatives with one of them first, if it is among them and
// not empty.
func firstOf(alternatives []string, one string) []string {
	if one == "" || !slices.Contains(alternatives, one) {
		return alternatives
	}
	return append([]string{one}, oauth.Without(alternatives, []string{one})...)
}

// negotiate registers the client, on the terms that are left when the server has
// rejected others.
func (r *registrar) negotiate(ctx context.Context) (*oauth.Registration, *negotiation, error) {
	n := r.newNegotiation()
	for {
		n.requests++
		reg, err := r.requestRegistration(ctx, n.terms)
		var rejected *oauth.RegistrationError
		if err == nil || !errors.As(err, &rejected) || rejected.Err.Class() == oauth.ClassTransient {
			return reg, n, err
		}
		member := n.narrow(rejected)
		if member == "" || n.requests == maxRegistrations {
			return nil, n, err
		}
		r.events.decide(StepRegistration, "registration", "request another "+member, "it was rejected with "+rejected.Err.Code)
		if err := r.clients.callback.move(ctx, n.terms.redirectHosts); err != nil {
			return nil, n, err
		}
	}
}

// requestRegistration sends one registration request, and again where the server only
// wants the client to wait.
func (r *registrar) requestRegistration(ctx context.Context, t registrationTerms) (*oauth.Registration, error) {
	for try := 1; ; try++ {
		request := oauth.RegistrationRequest{
			ClientName:              r.config.ClientName,
			ClientURI:               r.config.ClientURI,
			GrantTypes:              t.grants[0],
			TokenEndpointAuthMethod: t.methods[0],
			ApplicationType:         t.types[0],
			Scope:                   strings.Join(t.scopes, " "),
		}
		r.describeKeys(&request)
		if r.clients.callback.redirectURI != "" {
			request.RedirectURIs, request.ResponseTypes = []string{r.clients.callback.redirectURI}, []string{"code"}
		}
		if request.ResponseTypes == nil {
			request.ResponseTypes = []string{} // or it is "code" (RFC 7591, section 2)
		}
		reg, err := r.fetcher.Register(ctx, r.plan.server.RegistrationEndpoint, request)
		wait := cmp.Or(oauth.RetryAfter(err), backoff(try))
		if !oauth.Unprocessed(err) || try == maxTries || wait > maxRegistrationWait {
			return reg, err
		}
		if wait > maxRetryWait {
			r.notice("the authorization server is busy; registering in %v", wait.Round(time.Second))
		}
		if sleep(ctx, wait) != nil {
			return reg, err
		}
	}
}

// narrow gives up what a rejection blames and returns its name; "" if there is nothing
// to give up.
func (n *negotiation) narrow(rejected *oauth.RegistrationError) string {
	members, guess := rejected.NamedMembers()
	if n.before != nil && rejected.Equal(n.last) {
		n.terms = *n.before // it was not that
	}
	n.last, n.before = rejected, nil
	for _, member := range members {
		if guess && slices.Contains(n.guessed, member) {
			continue
		}
		narrower, ok := n.without(member)
		if !ok {
			continue
		}
		if guess {
			before := n.terms
			n.before, n.guessed = &before, append(n.guessed, member)
		}
		n.terms = narrower
		return member
	}
	return ""
}

// without returns the terms with less of a member; ok is false if there is no less.
func (n *negotiation) without(member string) (t registrationTerms, ok bool) {
	t = n.terms
	switch member {
	case oauth.OfflineAccess:
		t.scopes = oauth.Without(t.scopes, []string{oauth.OfflineAccess})
		return t, len(t.scopes) < len(n.terms.scopes)
	case oauth.MemberScope:
		if len(t.scopes) == 0 {
			return t, false
		}
		t.scopes = n.last.NarrowScope(t.scopes)
		if n.scopeSteps++; n.scopeSteps > maxScopeSteps {
			t.scopes = nil
		}
		return t, true
	case oauth.MemberGrantTypes:
		if ok = len(t.grants) > 1; ok {
			t.grants = t.grants[1:]
		}
	case oauth.MemberAuthMethod:
		t.methods, ok = next(t.methods)
	case oauth.MemberApplicationType:
		t.types, ok = next(t.types)
	case oauth.MemberRedirectURIs:
		t.redirectHosts, ok = next(t.redirectHosts)
	}
	return t, ok
}

// next returns the alternatives without the first; ok is false if no other is left.
func next(alternatives []string) (others []string, ok bool) {
	if len(alternatives) < 2 {
		return alternatives, false
	}
	return alternatives[1:], true
}

// learn notes on what terms the issuer registered the client, where they are not those
// that were requested first.
func (n *negotiation) learn(l *record.Learned) {
	learnScopes(l, oauth.Without(n.wish.scopes, n.terms.scopes))
	if !slices.Equal(n.terms.grants[0], n.wish.grants[0]) {
		l.GrantTypes = n.terms.grants[0]
	}
	if n.terms.methods[0] != n.wish.methods[0] {
		l.Method = n.terms.methods[0]
	}
	if kind := n.terms.types[0]; kind != n.wish.types[0] {
		l.ApplicationType, l.NoApplicationType = kind, kind == ""
	}
	if hosts := n.terms.redirectHosts; len(hosts) > 0 && hosts[0] != n.wish.redirectHosts[0] {
		l.RedirectHost = hosts[0]
	}
}

// learnScopes notes scopes that the issuer rejects.
func learnScopes(l *record.Learned, rejected []string) {
	l.OmitScopes = append(oauth.Without(l.OmitScopes, rejected), rejected...)
}

// learnOf changes what is learned of the login's issuer, and stores it.
func (l *loginState) learnOf(ctx context.Context, change func(*record.Learned)) {
	issuer := l.plan.server.Issuer
	l.remember(ctx, "what was learned of the authorization server", func(rec *record.Record) {
		learned := rec.LearnedOf(issuer)
		change(&learned)
		rec.Learn(learned)
	})
}

// rejectsOfflineAccess reports whether a rejection speaks of offline access, which some
// servers list and then give to certain users or clients only: Keycloak says so at the
// code exchange, after the user has consented.
func rejectsOfflineAccess(scope string, rejected *oauth.Error) bool {
	return slices.Contains(strings.Fields(scope), oauth.OfflineAccess) && rejected.Class() != oauth.ClassTransient &&
		(rejected.NamesOfflineAccess() || rejected.Code == "not_allowed")
}

// dropOfflineAccess begins the login again without the scope offline_access, now and in
// later logins.
func (l *loginFlow) dropOfflineAccess(ctx context.Context, rejected *oauth.Error) error {
	l.scope = strings.Join(oauth.Without(strings.Fields(l.scope), []string{oauth.OfflineAccess}), " ")
	l.learnOf(ctx, func(learned *record.Learned) { learnScopes(learned, []string{oauth.OfflineAccess}) })
	l.notice("the authorization server gives no offline access here; signing in without it")
	return l.tryAgain(rejected)
}

// withoutOfflineAccess returns a scope without the one that is for refresh tokens: a grant without
// a user has none (RFC 6749, section 4.4.3).
func withoutOfflineAccess(scope string) string {
	return strings.Join(oauth.Without(strings.Fields(scope), []string{oauth.OfflineAccess}), " ")
}
