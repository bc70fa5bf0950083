package record

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// SchemaVersion is the version of the record's JSON that this package writes. A
// record with a higher one is read, but Put does not replace it (ErrNewer).
const SchemaVersion = 1

// Unknown holds the members of a JSON object that this version does not know.
// They are written back as they were read, so that an older version of
// Handstamp never destroys what a newer one stored.
type Unknown map[string]json.RawMessage

// Record is all that is known of the login at one server under one profile. A
// later session replays it; it never guesses again what is in here.
//
// [Encode] writes it; encoding/json fails on a Record that holds secrets.
type Record struct {
	Version   int       `json:"version"`
	Key       store.Key `json:"key"`
	ServerURL string    `json:"server_url"`          // as the user gave it
	UpdatedAt time.Time `json:"updated_at,omitzero"` // of the last [Put], which sets it

	// Revision is the one that the record was read or written with. It is not part of the JSON.
	Revision store.Revision `json:"-"`

	// Changes is how many changes, its own and reported ones, the reader knew of before it read the
	// record. It is not part of the JSON.
	Changes uint64 `json:"-"`

	// AuthorizationServer is what the last login discovered.
	AuthorizationServer *AuthorizationServer `json:"authorization_server,omitempty"`

	// Clients are the registrations at hand: for each issuer the newest is the
	// last, and an older one stays while a grant is bound to it.
	Clients []*Client `json:"clients,omitempty"`

	// Grant is the login itself; nil before the first and after a rejection that
	// left nothing usable.
	Grant *Grant `json:"grant,omitempty"`

	// Intent is written before a refresh token is used and cleared by the
	// write that stores its successor.
	Intent *Intent `json:"intent,omitempty"`

	// Retry bounds how soon any process sends the authorization server the next request.
	Retry *Retry `json:"retry,omitempty"`

	// GrantError is the error that ended the last grant.
	GrantError *GrantError `json:"grant_error,omitempty"`

	// PendingLogin is the login that waits for a user. It means something only
	// while a process holds LockLogin: one that was killed leaves it behind.
	PendingLogin *PendingLogin `json:"pending_login,omitempty"`

	// LoginFailure describes the last login that prompted the user, if it failed: callers
	// that waited for it do not prompt the user again at once.
	LoginFailure *LoginFailure `json:"login_failure,omitempty"`

	// OmitResource lists the issuers that reject the resource parameter.
	OmitResource []string `json:"omit_resource,omitempty"`

	// RefreshScope lists the issuers that want the scope named in a refresh,
	// which RFC 6749, section 6, makes optional.
	RefreshScope []string `json:"refresh_scope,omitempty"`

	// Rejection counts rejections of the refresh token that gave no reason.
	Rejection *Rejection `json:"rejection,omitempty"`

	// Cooldowns are the definitive rejections after which no process sends the same
	// request again for a while.
	Cooldowns []Cooldown `json:"cooldowns,omitempty"`

	// Learned is what the issuers were found to take of a client, and what not.
	Learned []Learned `json:"learned,omitempty"`

	Unknown Unknown `json:"-"`

	// AutomaticLogins are the latest logins that opened a browser because a request needed
	// one, without a user's command. Their number is limited.
	AutomaticLogins []AutomaticLogin `json:"automatic_logins,omitempty"`

	// ACRValues and MaxAge are how the MCP server wants the user to sign in (RFC 9470), so that the
	// next login does it at once.
	ACRValues string `json:"acr_values,omitempty"`
	MaxAge    string `json:"max_age,omitempty"`

	// Account is the name of the account that the user last signed in with, where the server
	// tells it.
	Account string `json:"account,omitempty"`

	// DPoP is the key that tokens are bound to, where the login uses it (RFC 9449).
	DPoP *DPoP `json:"dpop,omitempty"`

	// Suspended is set in the record of a login that another process continues, and in no other.
	Suspended *SuspendedLogin `json:"suspended_login,omitempty"`
}

// DPoP is a key for proofs of possession, and what servers want in the proofs.
type DPoP struct {
	Key     secret.String `json:"key"` // a private JWK
	Nonces  []Nonce       `json:"nonces,omitempty"`
	Unknown Unknown       `json:"-"`
}

// Nonce is the latest one that the servers of an origin want in proofs (RFC 9449, section 8).
type Nonce struct {
	Origin  string  `json:"origin"`
	Value   string  `json:"value"`
	Unknown Unknown `json:"-"`
}

// AutomaticLogin is a login that opened a browser for a request.
type AutomaticLogin struct {
	At      time.Time `json:"at"`
	Issuer  string    `json:"issuer"`
	Unknown Unknown   `json:"-"`
}

// Learned is what one issuer was found to take of a client, and what not: the next
// registration and the next login begin with it. Empty members mean that nothing is
// known.
type Learned struct {
	Issuer string `json:"issuer"`

	// OmitScopes are scopes that the issuer rejects: in a registration, in an
	// authorization request or, as Keycloak does with offline_access, at the code
	// exchange.
	OmitScopes []string `json:"omit_scopes,omitempty"`

	// GrantTypes, Method, ApplicationType and RedirectHost are what a registration was
	// accepted with after it had been rejected with another value. NoApplicationType
	// says that the member is not taken at all.
	GrantTypes        []string `json:"grant_types,omitempty"`
	Method            string   `json:"token_endpoint_auth_method,omitempty"`
	ApplicationType   string   `json:"application_type,omitempty"`
	NoApplicationType bool     `json:"no_application_type,omitempty"`
	RedirectHost      string   `json:"redirect_host,omitempty"`

	// NoMetadataDocument says that the issuer rejects the client ID metadata document,
	// or that a login with it brought no callback.
	NoMetadataDocument bool `json:"no_metadata_document,omitempty"`

	// NamedRedirectURI is the redirect URI that an error named for registration by hand: the
	// next login listens there.
	NamedRedirectURI string  `json:"named_redirect_uri,omitempty"`
	Unknown          Unknown `json:"-"`
}

// AuthorizationServer is a discovered authorization server (RFC 8414).
type AuthorizationServer struct {
	// Issuer is the metadata's own string, compared byte by byte with iss
	// (RFC 9207).
	Issuer string `json:"issuer"`

	// Form names the URL that worked: "rfc8414", "oidc", or "legacy" for the
	// default endpoints of MCP 2025-03-26.
	Form      string          `json:"form,omitempty"`
	Metadata  json.RawMessage `json:"metadata,omitempty"` // the document as fetched
	FetchedAt time.Time       `json:"fetched_at,omitzero"`

	// PrivateNetwork says that the MCP server was found in a private network, so that the
	// authorization server may be there as well.
	PrivateNetwork bool    `json:"private_network,omitempty"`
	Unknown        Unknown `json:"-"`
}

// Client is a client as one issuer knows it.
type Client struct {
	Issuer string `json:"issuer"`

	// Source says where the client comes from: SourceConfigured,
	// SourceMetadataDocument or SourceDynamic.
	Source string `json:"source"`

	ID              string        `json:"client_id"`
	Secret          secret.String `json:"client_secret,omitempty"`
	SecretExpiresAt time.Time     `json:"client_secret_expires_at,omitzero"` // zero: it does not expire

	// Method is the token endpoint auth method (RFC 7591, section 2), and
	// MethodSource where that knowledge comes from: MethodConfigured,
	// MethodRegistered, MethodRequested, MethodDefault or MethodLearned.
	Method       string `json:"token_endpoint_auth_method"`
	MethodSource string `json:"token_endpoint_auth_method_source"`

	// GrantTypes are those that the client was registered for, where they are not those of a
	// login with a browser.
	GrantTypes []string `json:"grant_types,omitempty"`

	RedirectURIs            []string      `json:"redirect_uris,omitempty"`
	RegistrationAccessToken secret.String `json:"registration_access_token,omitempty"`
	RegistrationClientURI   string        `json:"registration_client_uri,omitempty"`
	Response                secret.String `json:"registration_response,omitempty"` // the whole response, as received
	RegisteredAt            time.Time     `json:"registered_at,omitzero"`

	// ScopeRequested is the scope that a registration which several users share was requested
	// with.
	ScopeRequested string `json:"scope_requested,omitempty"`

	// KeyThumbprint is that of the key (RFC 7638) that a dynamic client was registered with.
	KeyThumbprint string `json:"key_thumbprint,omitempty"`

	// Audience says that the server takes assertions for its token endpoint, rather than for the
	// issuer: AudienceEndpoint or "".
	Audience string `json:"assertion_audience,omitempty"`

	// FormID says that the token endpoint looks the client up by a client_id in
	// the form, beside Basic.
	FormID bool `json:"client_id_in_form,omitempty"`

	// Proven says that the token endpoint has issued tokens to the client with
	// this method, so that a later rejection means what it says.
	Proven bool `json:"proven,omitempty"`

	// Rejected says that the issuer no longer knows the client: the next login
	// registers again.
	Rejected bool `json:"rejected,omitempty"`

	// NoCallback says that the last authorization request with this client brought no
	// callback. It is set before the browser opens, and a callback ends it: a server
	// that has forgotten a client may report it only on a page for the user.
	NoCallback bool    `json:"no_callback,omitempty"`
	Unknown    Unknown `json:"-"`
}

// Values of Client.Source.
const (
	SourceConfigured       = "configured"
	SourceMetadataDocument = "client_id_metadata_document"
	SourceDynamic          = "dynamic"
)

// AudienceEndpoint is a value of Client.Audience.
const AudienceEndpoint = "token_endpoint"

// Values of Client.MethodSource.
const (
	MethodConfigured = "configured" // configured by the user
	MethodRegistered = "registered" // returned in the registration response
	MethodRequested  = "requested"  // requested in the registration; the response has none
	MethodDefault    = "default"    // known nowhere: chosen by rule
	MethodLearned    = "learned"    // another method failed, this one worked
)

// Resource is the resource parameter (RFC 8707) as sent on every leg.
type Resource struct {
	Value   string  `json:"value,omitempty"` // the exact bytes; unused if Omit
	Omit    bool    `json:"omit,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	Unknown Unknown `json:"-"`
}

// Param returns the resource parameter to send; "" sends none.
func (r Resource) Param() string {
	if r.Omit {
		return ""
	}
	return r.Value
}

// Grant is what the authorization server issued, and what it is pinned to. The
// pins change only through a new login.
type Grant struct {
	Issuer             string   `json:"issuer"`
	ClientID           string   `json:"client_id"` // with Issuer, names one of Record.Clients
	TokenEndpoint      string   `json:"token_endpoint"`
	RevocationEndpoint string   `json:"revocation_endpoint,omitempty"`
	Resource           Resource `json:"resource"`

	// Type is the grant type that the login began with; empty is authorization_code.
	Type string `json:"grant_type,omitempty"`

	// Enterprise is the issuer of the company's identity provider whose grant the login began
	// with. The login there is a record of its own.
	Enterprise string `json:"enterprise_issuer,omitempty"`

	// DPoP says that the tokens were requested with a proof of Record.DPoP's key. The access
	// token is bound to the key if TokenType says so.
	DPoP bool `json:"dpop,omitempty"`

	AccessToken  secret.String `json:"access_token,omitempty"`
	TokenType    string        `json:"token_type,omitempty"`
	ObtainedAt   time.Time     `json:"obtained_at,omitzero"`
	ExpiresAt    time.Time     `json:"expires_at,omitzero"` // zero: unknown, which is not "for ever"
	RefreshToken secret.String `json:"refresh_token,omitempty"`
	IDToken      secret.String `json:"id_token,omitempty"`

	ScopeRequested string `json:"scope_requested,omitempty"`
	ScopeGranted   string `json:"scope_granted,omitempty"`

	// RepeatedAt is when a refresh was repeated that had been sent before, without a response, or
	// by another process, too. That one may still reach a server, also after later refreshes, which
	// takes it for the reuse of a used token, and ends the grant. Zero: none was.
	RepeatedAt time.Time `json:"repeated_at,omitzero"`

	// Rejected says that the resource or the authorization server has rejected
	// the access token, so that it is not used until its expiry.
	Rejected bool    `json:"rejected,omitempty"`
	Unknown  Unknown `json:"-"`

	// Accepted says that the MCP server has accepted the access token right
	// after its issue, so that a later rejection means what it says.
	Accepted bool `json:"accepted,omitempty"`
}

// SameTokens reports whether two grants have the same tokens: a server may issue an access token twice, with
// another refresh token.
func (g *Grant) SameTokens(other *Grant) bool {
	return g.AccessToken == other.AccessToken && g.RefreshToken == other.RefreshToken
}

// Usable reports whether the access token can be sent: it is there, has not expired, and was not
// rejected, neither before nor as the one given. It is false for no grant.
func (g *Grant) Usable(rejected secret.String, now time.Time) bool {
	return g != nil && g.AccessToken != "" && !g.Rejected && g.AccessToken != rejected &&
		(g.ExpiresAt.IsZero() || now.Before(g.ExpiresAt))
}

// Intent says that the refresh token with this fingerprint is about to be
// used, or was. A process that finds one left behind knows that a refresh was
// interrupted.
type Intent struct {
	ID          string    `json:"id"`
	At          time.Time `json:"at"`
	Fingerprint string    `json:"refresh_fingerprint"` // of the refresh token, keyed with ID

	// Sent says that the request may have reached the server, and that the one
	// who sent it has given up waiting: what happened to the refresh token is in
	// doubt, and Record.Retry has the time of the next try.
	Sent bool `json:"sent,omitempty"`

	// Response is the raw response, saved before it is interpreted.
	Response *RawResponse `json:"response,omitempty"`
	Unknown  Unknown      `json:"-"`
}

// RawResponse is a token endpoint's response as it came.
type RawResponse struct {
	Status      int           `json:"status"`
	ContentType string        `json:"content_type,omitempty"`
	ReceivedAt  time.Time     `json:"received_at"`
	Body        secret.String `json:"body"`
	Truncated   bool          `json:"truncated,omitempty"` // the connection ended before the body did
	Unknown     Unknown       `json:"-"`
}

// Retry is the common back-off of all processes towards one token endpoint. Without NotBefore only the
// refresh ahead of requests waits: one process could not make a request.
type Retry struct {
	NotBefore time.Time `json:"not_before"`
	Failures  int       `json:"failures"`
	Reason    string    `json:"reason,omitempty"` // for the user: "503", "connection refused"
	Unknown   Unknown   `json:"-"`
}

// GrantError is the error that ended a grant, kept so that it can be reported.
type GrantError struct {
	At          time.Time `json:"at"`
	Code        string    `json:"code"` // an OAuth error code
	Description string    `json:"description,omitempty"`

	// Interrupted says that a refresh had been cut off before: the server may
	// have rotated the refresh token without our ever seeing the new one.
	Interrupted bool `json:"interrupted,omitempty"`

	// Guessed says that the server gave no reason and only went on rejecting the
	// refresh token, which is kept, unused, until a new login replaces it.
	Guessed bool    `json:"guessed,omitempty"`
	Unknown Unknown `json:"-"`
}

// Rejection counts equal rejections of one refresh token that name neither the
// grant nor the client. They end the grant when they are believed.
type Rejection struct {
	ID          string    `json:"id"`
	Fingerprint string    `json:"refresh_fingerprint"` // of the refresh token, keyed with ID
	Reason      string    `json:"reason"`              // status and code: what has to be equal
	Count       int       `json:"count"`               // far enough apart in time
	At          time.Time `json:"at"`                  // of the last one that counted
	Unknown     Unknown   `json:"-"`
}

// Cooldown is a definitive rejection of a client or a registration. The same
// request is not sent again before Until, by any process.
type Cooldown struct {
	ID          string    `json:"id"`
	Fingerprint string    `json:"fingerprint"` // of all that was rejected, keyed with ID
	Issuer      string    `json:"issuer"`
	Endpoint    string    `json:"endpoint"`
	First       time.Time `json:"first"` // when it was first rejected
	Until       time.Time `json:"until"`
	Tries       int       `json:"tries"`
	Requests    int       `json:"requests"`       // that the tries have taken
	Kind        string    `json:"kind"`           // "client_rejected", …
	Code        string    `json:"code,omitempty"` // an OAuth error code
	Message     string    `json:"message,omitempty"`
	Hint        string    `json:"hint,omitempty"`
	Unknown     Unknown   `json:"-"`
}

// PendingLogin is an authorization request (RFC 6749, section 4.1.1) that waits for the
// user's consent.
type PendingLogin struct {
	At          time.Time     `json:"at"`
	URL         secret.String `json:"url"` // to be opened in a browser; its state is good for this login only
	Issuer      string        `json:"issuer,omitempty"`
	RedirectURI string        `json:"redirect_uri,omitempty"`
	Scope       string        `json:"scope,omitempty"`
	Unknown     Unknown       `json:"-"`
}

// LoginFailure is a login that prompted the user and failed.
type LoginFailure struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"` // "denied", "timeout" or "protocol"
	Message string    `json:"message,omitempty"`
	Code    string    `json:"code,omitempty"` // an OAuth error code
	Unknown Unknown   `json:"-"`
}

// Client returns the client with this issuer and id, or nil.
func (r *Record) Client(issuer, id string) *Client {
	for _, c := range r.Clients {
		if c.Issuer == issuer && c.ID == id {
			return c
		}
	}
	return nil
}

// GrantClient returns the client that the grant is bound to, or nil.
func (r *Record) GrantClient() *Client {
	if r.Grant == nil {
		return nil
	}
	return r.Client(r.Grant.Issuer, r.Grant.ClientID)
}

// NewestClient returns the client to sign in with at issuer, or nil.
func (r *Record) NewestClient(issuer string) *Client {
	for _, c := range slices.Backward(r.Clients) {
		if c.Issuer == issuer {
			return c
		}
	}
	return nil
}

// LearnedOf returns a copy of what was learned of an issuer. Changing it
// changes nothing in the record; see [Record.Learn].
func (r *Record) LearnedOf(issuer string) Learned {
	for _, l := range r.Learned {
		if l.Issuer == issuer {
			return l
		}
	}
	return Learned{Issuer: issuer}
}

// Learn replaces what was learned of l.Issuer.
func (r *Record) Learn(l Learned) {
	r.Learned = slices.DeleteFunc(r.Learned, func(old Learned) bool { return old.Issuer == l.Issuer })
	r.Learned = append(r.Learned, l)
}

// AddClient makes c the newest client of its issuer. Others of that issuer stay
// only while the grant is bound to them.
func (r *Record) AddClient(c *Client) {
	r.Clients = slices.DeleteFunc(r.Clients, func(old *Client) bool {
		bound := r.Grant != nil && r.Grant.RefreshToken != "" && r.Grant.Issuer == old.Issuer && r.Grant.ClientID == old.ID
		return old.Issuer == c.Issuer && (old.ID == c.ID || !bound)
	})
	r.Clients = append(r.Clients, c)
}
