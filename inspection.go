package handstamp

import (
	"time"

	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// Inspection is what [Client.Inspect] found at a server and in the store, and what a login there
// would do. It contains no secret.
type Inspection struct {
	// Status is what is stored, never nil. With StateCorrupt and StateUnusable nothing else of the
	// stored credential is known.
	Status *Status

	// Locked is why the stored login cannot be refreshed now: another process holds its lock. It is
	// nil if none does.
	Locked error

	// Refreshable reports that the next access token needs no user, as far as the record shows.
	Refreshable bool

	// SecretExpired reports that the secret of the stored login's client has expired.
	SecretExpired bool

	// LastFailure is how the last login or registration failed; nil if it did not.
	LastFailure *PastFailure

	// NoCallback reports that the last login with the stored client brought no callback: the server
	// may have shown the user, and no program, that it has forgotten the client.
	NoCallback bool

	// RefreshFailed is how the last attempt to refresh the stored login failed; empty if it did not.
	RefreshFailed string

	// RefreshInterrupted reports that a refresh was begun and its end was not stored.
	RefreshInterrupted bool

	// Response is how the MCP server responds to a ping without a token; nil if it does not, and
	// ResponseError is why.
	Response      *ServerResponse
	ResponseError error

	// Resource is the protected resource metadata; nil if there is none. ResourceError is why it
	// cannot be used.
	Resource      *ResourceMetadata
	ResourceError error

	// Servers are the authorization servers that were looked at, in their order; the last one
	// without an Err is the one that a login uses.
	Servers []InspectedServer

	// LoginError is why no login can begin: it is the error that [Client.Login] would return
	// before it opens a browser. It is nil if a login can begin, as far as that can be known
	// without one.
	LoginError error

	// Plan is what a login would send; nil if none can begin.
	Plan *LoginPlan

	// Registration is the response to a registration request that no server can carry out; nil if
	// none was sent because no client would be registered.
	Registration *Trial

	// Authorization is the response to an authorization request without a user, as a login with a
	// stored client makes it; nil if none was sent.
	Authorization *Trial

	// TokenEndpoint is the response to a code exchange with a made-up code; nil if there is no
	// token endpoint.
	TokenEndpoint *Trial

	// MCP is the response to initialize; nil if none was sent, for want of a token.
	MCP *MCPTrial

	// ClockAhead is by how much the MCP server's clock is ahead of this machine's.
	ClockAhead time.Duration

	// NotGranted are scopes that the last login requested and that were not granted.
	NotGranted []string

	key     store.Key
	secrets func() []secret.String
}

// PastFailure is how a login or a registration failed before.
type PastFailure struct {
	Kind    error // of an [Error], such as ErrDenied
	Message string
	Hint    string
	Code    string    // the OAuth error code, where one was received
	At      time.Time // when; zero: not known
	Until   time.Time // no program tries it again before; zero: there is no such time
}

// ServerResponse is how a URL responds to a request without a token.
type ServerResponse struct {
	Status   int
	MCP      bool   // with a message of MCP
	Page     bool   // with a page for a browser
	Scheme   string // of a challenge that is not of OAuth, such as Basic
	Bearer   bool   // with a challenge of OAuth
	DPoP     bool   // with one for tokens that are bound to a key
	Metadata string // the URL of the resource metadata in the challenge
	Scope    string // the scope in the challenge
	MovedTo  string // where the server redirects to on its own origin
}

// ResourceMetadata is a protected resource metadata document (RFC 9728, section 2).
type ResourceMetadata struct {
	Resource             string
	AuthorizationServers []string
	Scopes               []string
	DPoP                 bool // tokens that are bound to a key are taken
}

// InspectedServer is an authorization server whose metadata was looked for.
type InspectedServer struct {
	Issuer string
	Form   string // how the metadata was found: "rfc8414", "oidc", "legacy" or "configured"

	AuthorizationEndpoint string
	TokenEndpoint         string
	RegistrationEndpoint  string // empty: it registers no clients
	AuthMethods           []string
	Grants                []string
	Scopes                []string
	Iss                   bool  // it announces iss in the authorization response (RFC 9207)
	Documents             bool  // it takes client ID metadata documents
	PAR                   bool  // it takes pushed authorization requests (RFC 9126)
	PKCE                  error // why S256 is not known to be supported; nil: it is listed
	PKCEAccepted          bool  // the configuration accepts a list without S256

	Err error // why it cannot be used
}

// LoginPlan is what a login would use.
type LoginPlan struct {
	Issuer         string
	Resource       string // empty: the parameter is left out
	ResourceReason string
	Scopes         []string
	DPoP           bool // tokens that are bound to a key are requested

	// ClientSource is "configured", "client_id_metadata_document" or "dynamic". ClientID is empty
	// if a client has to be registered first, by the login or, without Registers, by the user.
	ClientSource string
	ClientID     string
	Registers    bool

	// Method is how the client would authenticate at the token endpoint, MethodReason why, and
	// NextMethods are those that would be tried, in this order, if the server rejected it.
	Method       string
	MethodReason string
	NextMethods  []string

	// RedirectURI is where the login would listen. RedirectMoved reports that this is not where the
	// stored client was registered for, as another program has the port; RedirectError that the
	// login cannot listen at all.
	RedirectURI   string
	RedirectMoved bool
	RedirectError error

	issuer, clientID string // as they are
}

// Trial is a request that changes nothing, and what it led to.
type Trial struct {
	Sent   bool
	Reason string // why nothing was sent
	Err    error  // what the response means; nil: it proves that a login would pass
	Code   string // the OAuth error code of the response
	Status int    // 0: there was no response

	// Client is true where the response is about the client: it is unknown, or its authentication was
	// not accepted. Forgotten reports that the server has registered that client itself, so that a
	// new registration is the way out.
	Client    bool
	Forgotten bool
}

// MCPTrial is the response to initialize, or to server/discover.
type MCPTrial struct {
	Token    bool // it was sent with the stored access token
	Status   int  // 0: there was no response
	Rejected bool // the server rejects the token
	Error    string
	Scope    string // what the server wants with a 403

	// SSE reports that the server knows only the HTTP+SSE transport (MCP 2024-11-05).
	SSE bool

	// Version is the protocol version that the server has agreed to, and Modern reports that it
	// is one without sessions (2026-07-28 or later). Name is what the server calls itself.
	Version string
	Modern  bool
	Name    string

	Err error // why there is no usable response
}

// ContainsSecret reports whether a text contains a secret of the stored login, of the
// configuration or of its clients, or a piece of one, in any common encoding.
func (in *Inspection) ContainsSecret(text string) bool {
	return in.secrets != nil && containsSecret(text, in.secrets())
}
