package handstamp

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// Client signs in to MCP servers and keeps the logins. The zero value works: it
// registers by itself, opens the system's browser when a server requires a
// login, and keeps credentials in memory. Set Store to keep them longer.
//
// Fields may be changed until the first method call. After it a Client must not be copied: hold it
// by pointer (&handstamp.Client{…}), in a struct of your own too. All methods are safe for
// concurrent use. Several Clients, in any number of processes, may share a Store.
//
// A program that is about to exit calls [Client.Close].
type Client struct {
	// Store keeps the credentials. Nil: in memory, for this Client alone.
	Store store.Store

	// Profile separates several logins at one server. Empty is "default".
	Profile string

	// LoginPolicy decides whether a rejected request may start a login. The zero
	// value is [LoginAuto].
	LoginPolicy LoginPolicy

	// LoginTimeout bounds how long a login waits for the user. Zero is 5 minutes.
	LoginTimeout time.Duration

	// LockTimeout bounds each wait for a lock of the credential that another process holds.
	// Zero is 40 seconds for a refresh under way, which is also the most, and 15 seconds for a
	// record that is being written. A login under way is waited for as long as LoginTimeout.
	// The error of a wait that was too long names the process, where the system knows it.
	LockTimeout time.Duration

	// Prompt is how a login reaches the user. The zero value opens the system's
	// browser.
	Prompt Prompt

	// ClientStore keeps the clients that are registered dynamically, for all Clients that share it,
	// in any number of processes: one registration serves all users of an MCP server. Nil: each
	// credential has a registration of its own. It must not be the same store as Store.
	ClientStore store.Store

	// Registration is a client that was registered before: by hand at the
	// authorization server's console, or by an application that keeps what
	// OnRegister gave it. It is used instead of any other client, and never replaced. If the server
	// has forgotten it ([ErrClientRejected]), an application that got it from OnRegister deletes its
	// copy, and signs in with a Client without it.
	Registration *Registration

	// AuthorizationServer describes the server's authorization server where discovery stops
	// because that one breaks the standards. Nil: whichever the server names.
	AuthorizationServer *AuthorizationServer

	// Key signs the assertions with which the client authenticates (private_key_jwt, RFC 7523,
	// section 2.2), in place of a secret: with Registration, with ClientMetadataURL if the document
	// has the method and the key, or in a dynamic registration.
	Key *clientkey.Key

	// Certificate is presented to the servers as the TLS client certificate. With it the client
	// authenticates where the authorization server lists tls_client_auth or
	// self_signed_tls_client_auth (RFC 8705), or Registration has one of these methods. A
	// BaseTransport or an AuthTransport that is set has to present it itself.
	Certificate *tls.Certificate

	// Grant is how tokens are obtained. Nil is the authorization code grant: a user signs in with
	// a browser.
	Grant Grant

	// DPoP decides whether tokens are bound to a key. The zero value is [DPoPAuto].
	DPoP DPoPMode

	// OnRegister receives each dynamic registration, whole, before it is used, so that an
	// application can keep it and set it as Registration later. An error ends the login.
	OnRegister func(ctx context.Context, r Registration) error

	// ClientMetadataURL is the URL of a client ID metadata document. It is used
	// as client_id where the authorization server supports that.
	ClientMetadataURL string

	// InitialAccessToken authorizes dynamic registrations where the authorization server requires
	// that (RFC 7591, section 3). It is sent to the authorization server at which the first client
	// of a credential is registered, and not to one that the MCP server names later, while that
	// client is stored. With the field AuthorizationServer it is sent to that one only.
	// SoftwareStatement is sent with registrations, too (section 2.3).
	InitialAccessToken secret.String
	SoftwareStatement  string

	// ClientName and ClientURI describe the client in a dynamic registration
	// (RFC 7591, section 2). An empty name is "Handstamp".
	ClientName string
	ClientURI  string

	// Scopes are requested instead of those that the server names.
	Scopes []string

	// Resource is sent as the resource parameter (RFC 8707) instead of the
	// resource metadata's own string; OmitResource sends none. At most one of them is set.
	Resource     string
	OmitResource bool

	// ExtraAuthParams are added to the authorization request, for servers that
	// want more than the standard, such as audience or access_type.
	ExtraAuthParams url.Values

	// RedirectURI is the redirect URI to register and send, where the
	// application receives the callback itself (Prompt.Authorize), or where a
	// registration made by hand demands an exact one. Empty: that of Registration, or else
	// http://127.0.0.1:PORT/callback with a free port, used again in later logins; with
	// Prompt.Authorize, which has no listener, http://127.0.0.1/callback.
	RedirectURI string

	// CallbackPort is the port of the loopback redirect URI. Zero: that of RedirectURI, the one
	// registered before, or any free one. It must not contradict the port of RedirectURI. Logins
	// without a listener do not use it: those with Prompt.Authorize, [Client.BeginLogin] or [DeviceCode].
	CallbackPort int

	// BaseTransport carries the requests to the MCP server. Nil is
	// [http.DefaultTransport].
	BaseTransport http.RoundTripper

	// AuthTransport carries the requests to the authorization server. Nil is a transport that
	// connects to no private address which only a server's metadata names, unless the MCP server
	// itself is there. It is like BaseTransport, if that is an [*http.Transport] or has a method
	// Standard that returns one, or else like [http.DefaultTransport]. BaseTransport's DialContext
	// is used, and may connect a name to any address; its DialTLSContext is not.
	AuthTransport http.RoundTripper

	// InsecureAllowMissingPKCE accepts an authorization server whose metadata
	// does not list S256. The MCP specification requires clients to reject it; some servers
	// support S256 without listing it.
	InsecureAllowMissingPKCE bool

	// InsecureAllowHTTP accepts a server URL with plain http that is not on
	// the loopback interface. Tokens then travel in the clear.
	InsecureAllowHTTP bool

	// InsecureAllowPrivateAddresses lets a public server's metadata name private and loopback
	// addresses, for requests and for the browser. Without it, a server in a private network
	// may name others there, and one on the loopback interface both. Link-local addresses,
	// where clouds keep credentials, are never used.
	InsecureAllowPrivateAddresses bool

	// UntrustedServers is for programs in which users who are not trusted enter the servers' URLs.
	// The rules for addresses that metadata names then apply to the servers, too: they must be
	// public, unless InsecureAllowPrivateAddresses is set, and never link-local. The address of each
	// connection is checked; a request to any other address fails with [ErrInvalidConfig] and is not
	// sent. A BaseTransport or AuthTransport that is no [*http.Transport] has to be made of one: of
	// any other only the names in URLs are checked. An HTTP proxy has to check what names resolve to.
	// Package hosted sets it.
	UntrustedServers bool

	// RefreshHelper, if set, has each refresh carried out by a process that survives this one. Nil:
	// this process refreshes.
	RefreshHelper *RefreshHelper

	// locked is called, in a helper, when it holds the lock, and once a refresh is marked as begun.
	locked func()

	// Logger receives the events of [Hooks.Event] as records: at level Info what the user should
	// know, at Warn failures of the store, at Debug everything else.
	Logger *slog.Logger

	// Hooks are called with what happened.
	Hooks Hooks

	// Audit receives a record, at level Info, for each login, refresh, logout and registration of a
	// client, whatever its result: the constants Audit… are the messages and the names of the
	// attributes, and stay. No record has a secret. A handler that is slow delays what it records.
	// Nil: none.
	Audit slog.Handler

	once    sync.Once
	guarded http.RoundTripper // BaseTransport for UntrustedServers
	// identityProvider: the servers are a company's identity providers, where an MCP server's
	// Client signs users in.
	identityProvider bool

	mu        sync.Mutex // guards sessions, spelled, providers and closed
	sessions  map[store.Key]*session
	spelled   map[string]*session // the same, by the URL that each was made for: found without parsing
	providers map[string]*Client  // by issuer
	closed    bool
	running   underWay // flights that Close waits for

	closing  context.Context // ends with Close
	endWaits context.CancelFunc

	// lastUsed is the session that was used last, which is found without a lock and a map.
	lastUsed atomic.Pointer[session]
}

// Format implements fmt.Formatter: a Client may hold what must not be printed, and
// what other goroutines change.
func (c *Client) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[client]") }

const userAgent = "handstamp"

// defaultLoginTimeout is how long a login waits for the user.
const defaultLoginTimeout = 5 * time.Minute

// init freezes the fields and fills in what they leave open.
func (c *Client) init() {
	c.once.Do(func() {
		if c.Store == nil {
			c.Store = new(store.Memory)
		}
		if c.LoginTimeout <= 0 {
			c.LoginTimeout = defaultLoginTimeout
		}
		if c.BaseTransport == nil {
			c.BaseTransport = c.defaultTransport()
		}
		if c.UntrustedServers {
			c.guarded = guardServers(c.BaseTransport, c.untrustedReach())
		}
		c.ClientName = cmp.Or(c.ClientName, "Handstamp")
		c.closing, c.endWaits = context.WithCancel(context.Background())
		c.sessions, c.spelled = make(map[store.Key]*session), make(map[string]*session)
	})
}

// defaultTransport returns what carries the requests to MCP servers where nothing is configured.
func (c *Client) defaultTransport() http.RoundTripper {
	standard, ok := http.DefaultTransport.(*http.Transport)
	if c.Certificate == nil || !ok {
		return http.DefaultTransport
	}
	return withCertificate(standard, c.Certificate)
}

// Close ends a login that waits for the user or for another process, and a refresh that waits for
// another process. Until ctx ends, it waits for a refresh under way to be stored, and then tries once
// more to store a login that the store did not take; where that fails, its error is of kind [ErrStore].
// If ctx ends while a refresh is under way, Close returns ctx's error: the refresh goes on, and its token
// is lost if the process exits before it is stored.
// What it has ended fails with [ErrClosed]. After it, only stored tokens are used: a login, and a request
// that needs a refresh or a login, fails with ErrClosed, too. A process that is about to exit should call
// it: a refresh token that was sent must see its successor stored.
func (c *Client) Close(ctx context.Context) (err error) {
	c.init()
	c.mu.Lock()
	c.closed = true
	c.endWaits()
	sessions, providers := slices.Collect(maps.Values(c.sessions)), slices.Collect(maps.Values(c.providers))
	c.mu.Unlock()
	defer func() {
		for _, p := range providers {
			err = errors.Join(err, p.Close(ctx))
		}
	}()
	// Work begins under the session's lock and takes ours there, so the two
	// must not be taken the other way round.
	for _, s := range sessions {
		s.logins.flights.cancel()
		s.refresher.flights.cancel()
	}
	defer func() {
		for _, s := range sessions {
			s.server.closeIdle()
		}
	}()
	if err := c.running.wait(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil { // what is at hand is worth a moment
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
		defer cancel()
	}
	for _, s := range sessions {
		if s.records.flushUnsaved(ctx) != nil {
			err = errors.Join(err, &Error{Kind: ErrStore, Server: s.serverURL,
				Message: "a login could not be stored, and is lost"})
		}
	}
	return err
}

// StoreChanged notes that another process or replica has changed what is stored for a server, which
// [store.Key.ID] identifies; the empty ID stands for all servers. The next request to it reads the
// store first, and goes out with the token that is there, or with none. Without this call a Client
// reads the store when its token is about to expire or is rejected.
//
// Package hosted calls it where the database is a [store.Watcher].
func (c *Client) StoreChanged(keyID string) {
	c.init()
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, s := range c.sessions {
		if keyID == "" || key.ID() == keyID {
			s.tokens.noteChange()
		}
	}
}

// Registration is a client as the authorization server knows it.
//
// An application that keeps one stores what [Registration.RevealJSON] returns; json.Unmarshal
// reads that back. json.Marshal fails on a Registration that holds a secret.
type Registration struct {
	// Issuer is the authorization server that the client belongs to. Empty in
	// Client.Registration: whichever the MCP server names.
	Issuer string

	ClientID     string
	ClientSecret secret.String

	// SecretExpiresAt is zero if the secret does not expire. An expired secret is not used: with
	// OnRegister the next login registers a client again, without it the next login fails with
	// ErrClientRejected.
	SecretExpiresAt time.Time

	// TokenEndpointAuthMethod is how the client authenticates at the token
	// endpoint: "none", "client_secret_basic", "client_secret_post", "client_secret_jwt",
	// "private_key_jwt", "tls_client_auth" or "self_signed_tls_client_auth". It is
	// part of the registration: set it together with the secret. Empty where it is
	// not known; Handstamp then finds out, once.
	TokenEndpointAuthMethod string

	// RedirectURIs are those that the client was registered with. Keep them, too: a login listens
	// there, since many servers compare redirect URIs byte by byte.
	RedirectURIs []string

	// Response is the whole registration response (RFC 7591, section 3.2.1), as OnRegister has it. Keep
	// it, too: it has what else the client is registered for, such as bound tokens only (RFC 9449).
	Response secret.String
}

// Format implements fmt.Formatter: the secret is not seen, whatever the verb and
// whatever the Registration is a part of.
func (r Registration) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", plainRegistration(r)) }

// RevealJSON returns the registration as JSON with its secrets in the clear, for an application
// that keeps it in a safe place. json.Unmarshal reads it back. Each call is a place to look at in
// a review.
func (r Registration) RevealJSON() ([]byte, error) {
	return json.Marshal(struct {
		plainRegistration
		ClientSecret, Response string
	}{plainRegistration(r), r.ClientSecret.Reveal(), r.Response.Reveal()})
}

// plainRegistration is a Registration without its methods.
type plainRegistration Registration

// check finds what cannot be a registration: the placeholder that a secret prints as, where an
// application has saved that.
func (r *Registration) check() error {
	if r == nil || !r.ClientSecret.IsPlaceholder() {
		return nil
	}
	return &Error{Kind: ErrInvalidConfig,
		Message: `the client secret is "[redacted]", which stands for a secret and is none`,
		Hint:    "save the registration as Registration.RevealJSON returns it"}
}
