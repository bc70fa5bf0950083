package handstamp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// ImportedLogin is a login that was made elsewhere: by another program, or by an
// application that has kept its tokens itself so far.
type ImportedLogin struct {
	// Registration is the client that the tokens were issued to: a refresh token
	// cannot be used without it. What it leaves open is read from its Response.
	// Without a client id it is Client.Registration.
	//
	// Its Issuer is the authorization server that the tokens come from. Empty:
	// it is not known, and is the one that the server names first.
	Registration Registration

	// TokenResponse is the token endpoint's response (RFC 6749, section 5.1), a
	// JSON object. Members that are not known are ignored.
	TokenResponse secret.String

	// ReceivedAt is when the TokenResponse was received: its expires_in counts from then.
	// Zero: not known, and neither is when the access token expires.
	ReceivedAt time.Time

	// ExpiresAt is when the access token expires, where that is known more exactly than from
	// ReceivedAt.
	ExpiresAt time.Time

	// ScopeRequested is the scope that was requested. Empty: not known.
	ScopeRequested string

	// Resource is the resource parameter (RFC 8707) that the tokens were requested
	// for with, byte for byte; OmitResource reports that there was none. Neither: the
	// resource that the server publishes, as the URL standard writes it, which is
	// how nearly all other clients send it; none where it publishes none. At most one of them is set.
	Resource     string
	OmitResource bool
}

// Format implements fmt.Formatter: the secrets are not seen, whatever the verb
// and whatever the ImportedLogin is a part of.
func (l ImportedLogin) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", plainImportedLogin(l)) }

// plainImportedLogin is an ImportedLogin without its methods.
type plainImportedLogin ImportedLogin

// ImportOptions are the options of [Client.Import]. The zero value takes the login
// unless a usable one is stored.
type ImportOptions struct {
	// Force replaces a stored login although it is good.
	Force bool

	// Offline sends no request. The first refresh then finds the authorization
	// server.
	Offline bool

	// DryRun does everything but store the result.
	DryRun bool
}

// ImportResult reports what [Client.Import] did.
type ImportResult struct {
	Status *Status

	// Already: a usable login was stored, and was left as it is.
	Already bool
}

// Import takes over a login that was made elsewhere, so that later sessions need no user. The
// registration is stored with the tokens, method included, and the login is pinned to its
// authorization server: its metadata is fetched, but nothing of the login is sent there.
//
// A login whose Issuer is known is taken only while the server still names that
// one as its authorization server: otherwise the error is ErrProtocol. It is
// ErrLoginRequired if the login is expired and cannot be refreshed, ErrInvalidConfig if it is not a
// valid login, and ErrUnreachable if the metadata cannot be fetched; with Offline, the first refresh
// fetches it.
//
// Whoever had the login before must not use it any more: at a server that
// rotates refresh tokens, two programs with the same one sign each other out.
func (c *Client) Import(ctx context.Context, serverURL string, l ImportedLogin, o ImportOptions) (*ImportResult, error) {
	s, err := c.session(serverURL)
	if err == nil {
		err = l.Registration.check()
	}
	if err != nil {
		return nil, err
	}
	rec, err := s.records.load(ctx)
	if err != nil {
		return nil, err
	}
	if !o.Force && s.config.loggedIn(rec, time.Now()) {
		return &ImportResult{Status: statusOf(rec, time.Now()), Already: true}, nil
	}
	a, err := s.imports.parse(l)
	if err != nil {
		return nil, err
	}
	if !o.Offline {
		found, err := s.imports.findIssuer(ctx, a.grant.Issuer)
		if err != nil {
			return nil, s.imports.issuerError(err)
		}
		a.pin(found)
	}
	take := func(rec *record.Record) error {
		if !o.Force && s.config.loggedIn(rec, time.Now()) {
			return errSuperseded
		}
		a.into(rec, s.serverURL)
		return nil
	}
	if o.DryRun {
		a.into(rec, s.serverURL)
		return &ImportResult{Status: statusOf(rec, time.Now())}, nil
	}
	rec, err = s.records.update(ctx, rec, take)
	if err != nil && !errors.Is(err, errSuperseded) {
		return nil, err
	}
	s.tokens.use(rec)
	return &ImportResult{Status: statusOf(rec, time.Now()), Already: err != nil}, nil
}

// importer takes over logins that were made elsewhere.
type importer struct {
	*credential
	discovery *discovery
}

// importedRecord is an imported login as it is stored.
type importedRecord struct {
	grant  record.Grant
	client *record.Client              // nil: the tokens cannot be refreshed anyway
	as     *record.AuthorizationServer // nil: the first refresh finds it
}

// parse reads a login that was made elsewhere and checks what can be checked without the network.
func (im *importer) parse(l ImportedLogin) (*importedRecord, error) {
	invalid := func(message string, err error) error {
		return &Error{Kind: ErrInvalidConfig, Server: im.serverURL, Message: message, Err: err}
	}
	if l.Resource != "" && l.OmitResource {
		return nil, invalid("Resource and OmitResource contradict each other", nil)
	}
	token, flaw := oauth.ParseTokenResponse(&oauth.RawResponse{Status: 200, ContentType: "application/json", Body: l.TokenResponse})
	if token == nil || token.Partial || flaw != nil && token.RefreshToken == "" {
		return nil, invalid("the token response cannot be used", flaw)
	}
	client, err := im.client(l.Registration)
	switch {
	case err != nil:
		return nil, invalid("the client that the tokens were issued to cannot be used", err)
	case client == nil && token.RefreshToken != "":
		return nil, &Error{Kind: ErrInvalidConfig, Server: im.serverURL,
			Message: "a refresh token cannot be used without the client that it was issued to", Hint: "give the client with it"}
	case client != nil && client.Issuer != "" && l.Registration.Issuer == "":
		l.Registration.Issuer = client.Issuer // of the configured one, which is bound to it
	case client != nil && client.Issuer != "" && !oauth.SameButSlash(l.Registration.Issuer, client.Issuer):
		return nil, invalid("the configured client belongs to "+client.Issuer+
			", but the login comes from "+oauth.Sanitize(l.Registration.Issuer), nil)
	}
	a := &importedRecord{grant: l.grant(token, time.Now()), client: client}
	a.grant.Rejected = flaw != nil // an unusable access token beside a refresh token that is worth keeping
	if client != nil {
		a.grant.ClientID, client.Issuer = client.ID, a.grant.Issuer
	}
	if a.grant.RefreshToken == "" && !a.grant.Usable("", time.Now()) {
		return nil, &Error{Kind: ErrLoginRequired, Server: im.serverURL, Hint: "sign in to " + addressOf(im.serverURL),
			Message: "the access token has expired, and there is no refresh token to refresh it with"}
	}
	return a, nil
}

// grant returns the grant of an imported login.
func (l *ImportedLogin) grant(token *oauth.TokenResponse, now time.Time) record.Grant {
	g := record.Grant{Issuer: l.Registration.Issuer, ScopeRequested: l.ScopeRequested, ScopeGranted: l.ScopeRequested}
	applyToken(&g, token, l.ReceivedAt)
	switch {
	case !l.ExpiresAt.IsZero():
		g.ExpiresAt = l.ExpiresAt.UTC()
	case l.ReceivedAt.IsZero():
		g.ExpiresAt = time.Time{}
	}
	if l.ReceivedAt.IsZero() || g.ObtainedAt.After(now) {
		g.ObtainedAt = now.UTC()
	}
	switch {
	case l.OmitResource:
		g.Resource = record.Resource{Omit: true, Reason: "none was sent before"}
	case l.Resource != "":
		g.Resource = record.Resource{Value: l.Resource, Reason: "as sent before"}
	}
	return g
}

// client returns the client of an imported login, or nil if none is known.
func (im *importer) client(r Registration) (*record.Client, error) {
	registered := &oauth.Registration{}
	if r.Response != "" {
		var err error
		if registered, err = oauth.ParseRegistration([]byte(r.Response)); err != nil {
			return nil, err
		}
	}
	r.ClientID = cmp.Or(r.ClientID, registered.ClientID)
	configured := ""
	switch own := im.config.Registration; {
	case r.ClientID == "" && (own == nil || own.ClientID == ""):
		return nil, nil
	case r.ClientID == "":
		r, configured = *own, own.Issuer
	case own != nil && own.ClientID == r.ClientID && r.Issuer == "":
		configured = own.Issuer // the same client, whoever brings it
	}
	c := &record.Client{
		Issuer: configured, Source: record.SourceConfigured, ID: r.ClientID, Secret: r.ClientSecret, SecretExpiresAt: r.SecretExpiresAt,
		RedirectURIs: slices.Clone(r.RedirectURIs),
	}
	if r.Response != "" {
		c.Source, c.Response = record.SourceDynamic, r.Response
		c.RegistrationAccessToken, c.RegistrationClientURI = registered.RegistrationAccessToken, registered.RegistrationClientURI
		if c.Secret == "" {
			c.Secret, c.SecretExpiresAt = registered.ClientSecret, registered.SecretExpiresAt
		}
		if c.RedirectURIs == nil {
			c.RedirectURIs = registered.RedirectURIs
		}
	} else if strings.HasPrefix(c.ID, "https://") {
		c.Source, registered.TokenEndpointAuthMethod = record.SourceMetadataDocument, oauth.MethodNone
	}
	choice, err := chooseAuthMethod(authMethodInputs{
		configured: r.TokenEndpointAuthMethod, registered: registered.TokenEndpointAuthMethod, secret: c.Secret != "",
	})
	if err != nil {
		return nil, err
	}
	c.Method, c.MethodSource = choice.method, choice.source
	return c, nil
}

// into makes the imported login the record's own.
func (a *importedRecord) into(rec *record.Record, serverURL string) {
	g := a.grant
	rec.ServerURL, rec.Grant = serverURL, &g
	if a.as != nil {
		rec.AuthorizationServer = a.as
	}
	if a.client != nil {
		c := *a.client
		rec.AddClient(&c)
	}
	rec.Intent, rec.Retry, rec.GrantError = nil, nil, nil
	rec.Account, rec.ACRValues, rec.MaxAge = accountOf(g.IDToken), "", "" // not of the login before
}
