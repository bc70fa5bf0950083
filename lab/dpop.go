package lab

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// DPoP is what the servers do with proofs of possession (RFC 9449). With the zero value they know
// nothing of them: they ignore proofs, and every token is a bearer token.
//
// A proof comes once only: [Audit.ProofReuses] counts those whose jti came before, at whichever
// endpoint.
type DPoP struct {
	// Supported makes the authorization server bind tokens to the key of a proof, and lists
	// dpop_signing_alg_values_supported.
	Supported bool `json:"supported,omitempty"`
	// Algorithms is that list, in the resource's metadata and challenge too. Empty means every one
	// that the lab knows.
	Algorithms []string `json:"algorithms,omitempty"`
	// Required rejects token requests without a proof, as [ConfiguredClient.DPoPBound] does for one
	// client.
	Required bool `json:"required,omitempty"`
	// RegisterBound registers every client with dpop_bound_access_tokens, whatever it requested.
	RegisterBound bool `json:"register_bound,omitempty"`
	// Resource is what the MCP server does: empty means that it knows Bearer only and takes a bound
	// token as one; [DPoPOffered], [DPoPRequired], [DPoPChallenged], [DPoPSilent].
	Resource string `json:"resource,omitempty"`
	// ServerNonce makes the authorization server require a nonce, which changes after so many
	// requests; ResourceNonce likewise the MCP server. Zero means no nonce.
	ServerNonce   int `json:"server_nonce,omitempty"`
	ResourceNonce int `json:"resource_nonce,omitempty"`
	// QuietNonce leaves the next nonce to the error response. Otherwise successful ones have it too.
	QuietNonce bool `json:"quiet_nonce,omitempty"`
	// Window is how far iat may be from the server's clock. Zero means a minute.
	Window time.Duration `json:"window,omitempty"`
	// ProveRevocation revokes a bound token only with a proof of its key. Without one the revocation
	// endpoint reports success, and revokes nothing.
	ProveRevocation bool `json:"prove_revocation,omitempty"`
	// UnboundRefresh takes the refresh tokens of public clients with any key.
	UnboundRefresh bool `json:"unbound_refresh,omitempty"`
}

// Values of [DPoP.Resource].
const (
	DPoPOffered    = "offered"    // listed in the metadata; Bearer works too, for unbound tokens
	DPoPRequired   = "required"   // dpop_bound_access_tokens_required; Bearer is rejected
	DPoPChallenged = "challenged" // Bearer is rejected; only the challenge shows it
	DPoPSilent     = "silent"     // both work, as with DPoPOffered, and nothing shows it
)

// Proof is a DPoP proof in the request log, verified or not.
type Proof struct {
	ID     string // jti
	Key    string // thumbprint of the key (RFC 7638)
	Alg    string
	Method string // htm
	URL    string // htu
	Nonce  string
	Token  bool // it has ath
	Reused bool // an earlier request had this jti
}

// plainDPoP is a DPoP without methods.
type plainDPoP DPoP

type dpopJSON struct {
	*plainDPoP
	Window duration `json:"window,omitempty"`
}

// MarshalJSON writes the window as a string such as "30s".
func (d DPoP) MarshalJSON() ([]byte, error) {
	return json.Marshal(dpopJSON{plainDPoP: (*plainDPoP)(&d), Window: duration(d.Window)})
}

// UnmarshalJSON reads what MarshalJSON writes. An unknown member is an error.
func (d *DPoP) UnmarshalJSON(raw []byte) error {
	var read DPoP
	document := dpopJSON{plainDPoP: (*plainDPoP)(&read)}
	if err := decodeStrict(raw, &document); err != nil {
		return err
	}
	read.Window = time.Duration(document.Window)
	*d = read
	return nil
}

func (d DPoP) algorithms() []string {
	if len(d.Algorithms) > 0 {
		return d.Algorithms
	}
	return publicAlgorithms
}

// nonce is the one that a server accepts. It is guarded by Server.mu.
type nonce struct {
	current string
	uses    int
}

// next returns the nonce to send.
func (n *nonce) next() string {
	if n.current == "" {
		n.current = newID("nonce-")
	}
	return n.current
}

// take reports whether the nonce is the one to accept, which changes after so many uses.
func (n *nonce) take(sent string, uses int) bool {
	if sent != n.next() {
		return false
	}
	if n.uses++; n.uses >= uses {
		*n = nonce{}
	}
	return true
}

// readProof parses the proof of a request for the log.
func readProof(r *http.Request) (*jwt, *Proof) {
	if len(r.Header.Values("DPoP")) != 1 {
		return nil, nil
	}
	t, err := parseJWT(r.Header.Get("DPoP"))
	if err != nil {
		return nil, nil
	}
	var key jwk
	if json.Unmarshal(t.header.JWK, &key) != nil {
		return nil, nil
	}
	return t, &Proof{
		ID: t.text("jti"), Key: key.thumbprint(), Alg: t.header.Alg,
		Method: t.text("htm"), URL: t.text("htu"),
		Nonce: t.text("nonce"), Token: t.text("ath") != "",
	}
}

// countProof counts the proof of a request. The caller holds s.mu.
func (s *Server) countProof(p *Proof) {
	if p == nil {
		return
	}
	s.state.audit.Proofs++
	if p.Reused = !s.firstUse("proof", p.ID); p.Reused {
		s.state.audit.ProofReuses++
	}
}

// checkProof returns what is wrong with the proof of a request, or nothing (RFC 9449 section 4.3).
// token is the access token that comes with it, empty at the authorization server. The nonce is not
// looked at.
func (s *Server) checkProof(x *exchange, token string) (why string) {
	t, p := x.proof, x.seenProof
	if t == nil {
		return "there must be one DPoP proof, a JWT with a key"
	}
	if why := s.verifyProof(t); why != "" {
		return why
	}
	window := s.habits.DPoP.Window
	if window == 0 {
		window = time.Minute
	}
	issued, ok := t.number("iat")
	age := float64(s.clock.now().Unix()) - issued
	switch {
	case p.ID == "":
		return "jti is missing"
	case p.Method != x.r.Method:
		return "htm is not the method"
	case !sameURL(p.URL, s.requestURL(x.r)):
		return "htu is not the URL"
	case !ok || age > window.Seconds() || age < -window.Seconds():
		return "iat is too far from the server's time"
	case token != "" && t.text("ath") != tokenHash(token):
		return "ath is not the hash of the access token"
	case p.Reused:
		return "jti has been used"
	}
	return ""
}

// verifyProof checks header and signature of a proof.
func (s *Server) verifyProof(t *jwt) (why string) {
	var key jwk
	if err := json.Unmarshal(t.header.JWK, &key); err != nil {
		return "jwk is not a key"
	}
	switch {
	case t.header.Typ != "dpop+jwt":
		return "typ is not dpop+jwt"
	case !slices.Contains(s.habits.DPoP.algorithms(), t.header.Alg):
		return "the algorithm is not supported"
	}
	if err := t.verify(key); err != nil {
		return err.Error()
	}
	return ""
}

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// requestURL is the URL of a request, without a query.
func (s *Server) requestURL(r *http.Request) string {
	for _, origin := range []string{s.origin, s.mcpOrigin, s.aliasOrigin} {
		if _, host, _ := strings.Cut(origin, "://"); origin != "" && host == r.Host {
			return origin + r.URL.EscapedPath()
		}
	}
	return ""
}

// sameURL compares an htu claim with a URL (RFC 9449 section 4.3); the claim has neither query nor
// fragment.
func sameURL(claim, target string) bool {
	a, errA := url.Parse(claim)
	b, errB := url.Parse(target)
	if errA != nil || errB != nil || strings.ContainsAny(claim, "?#") {
		return false
	}
	return plainURL(a) == plainURL(b)
}

// plainURL is a URL in the form of RFC 3986 section 6.2.3.
func plainURL(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + host + path
}

// proveKey checks the proof of a request to the authorization server, whose key the tokens are
// bound to. The response is an error, or nil. The caller holds s.mu.
func (s *Server) proveKey(x *exchange, c *client) *response {
	d := s.habits.DPoP
	if !d.Supported {
		return nil
	}
	var failed response
	switch {
	case len(x.r.Header.Values("DPoP")) == 0 && !d.Required && !c.DPoPBound:
		return nil
	case len(x.r.Header.Values("DPoP")) == 0:
		failed = s.tokenError(http.StatusBadRequest, "invalid_request", "a DPoP proof is required")
		return &failed
	}
	if why := s.checkProof(x, ""); why != "" {
		failed = s.tokenError(http.StatusBadRequest, "invalid_dpop_proof", why)
		return &failed
	}
	if d.ServerNonce > 0 {
		taken := s.state.serverNonce.take(x.seenProof.Nonce, d.ServerNonce)
		if !taken {
			failed = s.tokenError(http.StatusBadRequest, "use_dpop_nonce", "the nonce is missing or old")
			failed.header.Set("DPoP-Nonce", s.state.serverNonce.next())
			return &failed
		}
		if !d.QuietNonce {
			x.nonce = s.state.serverNonce.next()
		}
	}
	x.key = x.seenProof.Key
	return nil
}

// bind makes the tokens of a family those of the key and of the certificate of a request. The
// refresh tokens of public clients are bound too.
func (s *Server) bind(f *family, x *exchange, c *client) {
	f.key = x.key
	if s.habits.MTLS.BoundTokens {
		f.certificate = certificateThumbprint(x.r)
	}
	if c.Method != MethodNone {
		return
	}
	f.refreshCertificate = f.certificate
	if !s.habits.DPoP.UnboundRefresh {
		f.refreshKey = x.key
	}
}

// mayRevoke reports whether a request may revoke a token that is bound to a key.
func (s *Server) mayRevoke(x *exchange, key string) bool {
	return !s.habits.DPoP.ProveRevocation || key == "" || key == x.key
}

// proveRevocation checks the proof of a revocation, where that matters. The response is an error,
// or nil.
func (s *Server) proveRevocation(x *exchange, c *client) *response {
	if !s.habits.DPoP.ProveRevocation || len(x.r.Header.Values("DPoP")) == 0 {
		return nil
	}
	return s.proveKey(x, c)
}

// withNonce adds the nonce for the client's next request to a response.
func (a response) withNonce(nonce string) response {
	if nonce == "" {
		return a
	}
	if a.header == nil {
		a.header = make(http.Header)
	}
	a.header.Set("DPoP-Nonce", nonce)
	return a
}

// credential is the access token of an MCP request and its scheme.
type credential struct {
	token string
	sent  bool
	dpop  bool
}

func (s *Server) readCredential(r *http.Request) credential {
	if s.habits.DPoP.Resource != "" {
		if token, ok := authorization(r, "DPoP"); ok {
			return credential{token: token, sent: true, dpop: true}
		}
	}
	token, sent := bearer(r)
	return credential{token: token, sent: sent}
}

// checkPossession checks that a request to the MCP server has the key of its access token. The
// response is an error, or nil (RFC 9449 section 7).
func (s *Server) checkPossession(x *exchange, c credential, key string) *response {
	d := s.habits.DPoP
	var failed response
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case d.Resource == "":
		return nil
	case !c.dpop && key != "":
		s.state.audit.Downgrades++
		failed = s.unauthorized(x, http.StatusUnauthorized, "invalid_token", "")
	case !c.dpop && (d.Resource == DPoPOffered || d.Resource == DPoPSilent):
		return nil
	case !c.dpop:
		failed = s.unauthorized(x, http.StatusUnauthorized, "", s.habits.ChallengeScope)
	case s.checkProof(x, c.token) != "":
		failed = s.unauthorized(x, http.StatusUnauthorized, "invalid_dpop_proof", "")
	case x.seenProof.Key != key:
		failed = s.unauthorized(x, http.StatusUnauthorized, "invalid_token", "")
	case d.ResourceNonce == 0:
		return nil
	case !s.state.resourceNonce.take(x.seenProof.Nonce, d.ResourceNonce):
		failed = s.unauthorized(x, http.StatusUnauthorized, "use_dpop_nonce", "").
			withNonce(s.state.resourceNonce.next())
	default:
		if !d.QuietNonce {
			x.nonce = s.state.resourceNonce.next()
		}
		return nil
	}
	return &failed
}
