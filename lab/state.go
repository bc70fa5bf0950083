package lab

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"time"
)

// ConfiguredClient is a client that the authorization server knows.
type ConfiguredClient struct {
	ID string
	// Secret is empty for a public client.
	Secret string
	// Method is what the token endpoint takes from it. Empty means client_secret_basic with a
	// secret, private_key_jwt with keys, and none without either.
	Method string
	// JWKS are its public keys as the JSON of a JWK set (RFC 7517 section 5); JWKSURI is where they
	// are instead.
	JWKS    string
	JWKSURI string
	// SubjectDN is the subject of its certificate, for tls_client_auth.
	SubjectDN string
	// DPoPBound rejects its token requests without a DPoP proof (RFC 9449 section 5.2).
	DPoPBound bool
	// RedirectURIs that it may use. Empty means any loopback address.
	RedirectURIs []string
	// GrantTypes that it registered. Empty means all.
	GrantTypes []string
}

// String leaves the secret out.
func (c ConfiguredClient) String() string {
	return fmt.Sprintf("%s %s %v", c.ID, c.Method, c.RedirectURIs)
}

// GoString leaves the secret out, too.
func (c ConfiguredClient) GoString() string { return c.String() }

// state is what the authorization server knows. It is guarded by Server.mu.
type state struct {
	clients  map[string]*client
	codes    map[string]*code
	consents map[string]*consentRequest
	refresh  map[string]*refreshToken
	access   map[string]*accessToken
	families []*family
	audit    Audit
	secrets  []string // every secret that was ever at play
	// documents are the clients with a metadata document that the authorization endpoint has read.
	documents map[string]*client
	used      map[[32]byte]bool // hashes of what may come once only
	pushed    map[string]pushedRequest
	trusted   map[string][]jwk          // keys by issuer
	audiences map[string]string         // the client's ids where ID-JAGs are for, by issuer
	devices   map[string]*deviceRequest // by user code
	signedIn  authentication            // the user's, zero before the first
	account   string                    // who signs in, empty for the default
	// serverNonce and resourceNonce are for proofs of possession.
	serverNonce, resourceNonce nonce
	jwtKey                     []byte
	lifetime                   time.Duration // of access tokens, if not zero instead of the habit's
	// secretLife is that of client secrets, if not zero instead of the habit's.
	secretLife time.Duration
	consented  map[string]bool // clients that the user has consented to
}

func newState() state {
	return state{
		clients:   make(map[string]*client),
		codes:     make(map[string]*code),
		consents:  make(map[string]*consentRequest),
		refresh:   make(map[string]*refreshToken),
		access:    make(map[string]*accessToken),
		documents: make(map[string]*client),
		used:      make(map[[32]byte]bool),
		pushed:    make(map[string]pushedRequest),
		trusted:   make(map[string][]jwk),
		audiences: make(map[string]string),
		devices:   make(map[string]*deviceRequest),
		jwtKey:    []byte(rand.Text()),
		consented: make(map[string]bool),
	}
}

// client is a registered client.
type client struct {
	ConfiguredClient
	dynamic    bool
	secretEnds time.Time // zero: never
	registered registrationRequest
	issuedAt   time.Time
	// management is the registration access token, for managementURL.
	management    string
	managementURL string
}

// code is an authorization code.
type code struct {
	clientID    string
	redirectURI string
	challenge   string
	resource    string
	scope       string
	offline     bool   // a refresh token comes with it
	details     string // authorization_details
	by          authentication
	nonce       string
	key         string // dpop_jkt: thumbprint of the key that the token request must prove
	ends        time.Time
	used        bool
	family      *family // what it was exchanged for
}

// family is what grew out of one authorization.
type family struct {
	id       int
	clientID string
	resource string
	scope    string
	revoked  bool
	// key is the thumbprint of what the next access token is bound to, refreshKey of what the
	// refresh tokens are bound to.
	key, refreshKey string
	// certificate and refreshCertificate likewise, of client certificates.
	certificate, refreshCertificate string
	nonce                           string // for the next ID token
	by                              authentication
	details                         string        // authorization_details
	current                         *refreshToken // for RotateUntilUsed
	previous                        *refreshToken
	issued                          []int // refresh tokens by generation
	presented                       []int // requests that carried one, by generation
}

// refreshToken is one generation of a family.
type refreshToken struct {
	value      string
	family     *family
	generation int
	usedAt     time.Time // zero: not used
	successor  *refreshToken
	noGrace    bool // used, without a grace period
}

// accessToken is what the MCP server takes.
type accessToken struct {
	family      *family
	scope       string
	key         string // thumbprint of what it is bound to
	certificate string // likewise
	by          authentication
	begins      time.Time
	ends        time.Time
	revoked     bool
}

// secret returns a random value, kept for [Server.Secrets]. The caller holds s.mu.
func (s *Server) secret(prefix, suffix string) string {
	value := newID(prefix) + suffix
	s.state.secrets = append(s.state.secrets, value)
	return value
}

// newID makes a value that is given once.
func newID(prefix string) string { return prefix + rand.Text() }

// RegisterClient adds a client, or replaces the one with its id.
func (s *Server) RegisterClient(c ConfiguredClient) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.Method != "":
	case c.Secret != "":
		c.Method = MethodBasic
	case c.JWKS != "" || c.JWKSURI != "":
		c.Method = MethodPrivateKeyJWT
	default:
		c.Method = MethodNone
	}
	s.state.clients[c.ID] = &client{ConfiguredClient: c.clone()}
	if c.Secret != "" {
		s.state.secrets = append(s.state.secrets, c.Secret)
	}
}

func (c ConfiguredClient) clone() ConfiguredClient {
	c.RedirectURIs = slices.Clone(c.RedirectURIs)
	c.GrantTypes = slices.Clone(c.GrantTypes)
	return c
}

// Clients returns every client that the server knows, by id, with its secret.
func (s *Server) Clients() []ConfiguredClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []ConfiguredClient
	for _, id := range slices.Sorted(maps.Keys(s.state.clients)) {
		out = append(out, s.state.clients[id].ConfiguredClient.clone())
	}
	return out
}

// ForgetClients forgets every client: the authorization endpoint shows the page
// for unknown clients, the token endpoint returns invalid_client.
func (s *Server) ForgetClients() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.state.clients)
	clear(s.state.documents)
}

// ExpireAccessTokens makes the access tokens issued so far reach their end now.
// Refresh tokens stay.
func (s *Server) ExpireAccessTokens() {
	now := s.clock.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range s.state.access {
		if now.Before(token.ends) {
			token.ends = now
		}
	}
}

// SetAccessTokenLifetime is Habits.AccessTokenLifetime for the tokens that are
// issued from now on. Zero gives the habit back.
func (s *Server) SetAccessTokenLifetime(life time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.lifetime = life
}

// SetSecretLifetime is Habits.SecretLifetime for the clients that are registered
// from now on. Zero gives the habit back.
func (s *Server) SetSecretLifetime(life time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.secretLife = life
}

// RevokeAccessTokens makes the MCP server reject the access tokens issued so
// far, however long they were to live. Refresh tokens stay.
func (s *Server) RevokeAccessTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range s.state.access {
		token.revoked = true
	}
}

// RevokeFamilies revokes every grant: access and refresh tokens alike.
func (s *Server) RevokeFamilies() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.state.families {
		s.revokeFamily(f)
	}
}

// revokeFamily ends a grant. The caller holds s.mu.
func (s *Server) revokeFamily(f *family) {
	if !f.revoked {
		f.revoked = true
		s.state.audit.FamiliesRevoked++
	}
}

// Secrets returns every secret that was handed out or configured, and those that clients made:
// client secrets, codes, tokens, code verifiers. A test looks for them where none may be.
func (s *Server) Secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.state.secrets)
}
