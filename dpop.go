package handstamp

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// DPoPMode decides whether tokens are bound to a key of the credential (DPoP, RFC 9449), so that
// whoever steals one cannot use it.
type DPoPMode int

const (
	// DPoPAuto binds tokens where the MCP server requires or offers that, or the authorization
	// server requires it of the client. That the authorization server could is no reason: MCP
	// servers behind it may know bearer tokens only.
	DPoPAuto DPoPMode = iota

	// DPoPAlways requests bound tokens everywhere. A server that issues a bearer token all the
	// same is believed.
	DPoPAlways

	// DPoPNever requests bearer tokens everywhere.
	DPoPNever
)

// proofs makes the proofs of one credential: it is an [oauth.Prover] with the credential's key.
// It is safe for concurrent use.
type proofs struct {
	mu     sync.Mutex    // guards the fields below
	stored secret.String // the key as it stands in the record
	key    *jose.ProofKey
	nonces map[string]string // by origin
}

// use takes the key and the nonces of a record, unless this process has later nonces.
func (p *proofs) use(d *record.DPoP) {
	if d == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stored == d.Key {
		return
	}
	key, err := jose.ParseProofKey(d.Key)
	if err != nil {
		return // the next login makes another one
	}
	p.stored, p.key, p.nonces = d.Key, key, make(map[string]string)
	for _, n := range d.Nonces {
		p.nonces[n.Origin] = n.Value
	}
}

// state returns what the record keeps; nil if there is no key.
func (p *proofs) state() *record.DPoP {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key == nil {
		return nil
	}
	d := &record.DPoP{Key: p.stored}
	for _, origin := range slices.Sorted(maps.Keys(p.nonces)) {
		d.Nonces = append(d.Nonces, record.Nonce{Origin: origin, Value: p.nonces[origin]})
	}
	return d
}

// fitting returns p, or proofs with a key of their own if the servers do not take that of p, which
// goes on proving the token at hand. The servers take the given algorithms; nil means that they
// name none.
func (p *proofs) fitting(algorithms []string) (*proofs, error) {
	key, err := p.ready(algorithms)
	if err != nil || algorithms == nil || slices.Contains(algorithms, key.Algorithm()) {
		return p, err
	}
	p = new(proofs)
	_, err = p.ready(algorithms)
	return p, err
}

// ready returns the key, which it makes, for one of these algorithms, if there is none.
func (p *proofs) ready(algorithms []string) (*jose.ProofKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key != nil {
		return p.key, nil
	}
	key, err := jose.NewProofKey(algorithms)
	if err != nil {
		return nil, err
	}
	encoded, err := key.PrivateJWK()
	if err != nil {
		return nil, err
	}
	p.stored, p.key, p.nonces = encoded, key, make(map[string]string)
	return key, nil
}

// thumbprint returns the thumbprint of the key; "" if there is none.
func (p *proofs) thumbprint() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key == nil {
		return ""
	}
	return p.key.Thumbprint()
}

// Proof implements oauth.Prover.
func (p *proofs) Proof(method, rawURL string, accessToken secret.String) (string, error) {
	return p.proofWith("", method, rawURL, accessToken)
}

// proofWith is Proof with a nonce, or with the last one that was kept if it is empty.
func (p *proofs) proofWith(nonce, method, rawURL string, accessToken secret.String) (string, error) {
	key, err := p.ready(nil)
	if err != nil {
		return "", err
	}
	if nonce == "" {
		p.mu.Lock()
		nonce = p.nonces[originOf(rawURL)]
		p.mu.Unlock()
	}
	return key.Proof(method, rawURL, jose.ProofOptions{AccessToken: accessToken, Nonce: nonce, Now: time.Now()})
}

// maxNonce bounds the length of a nonce that is kept, in bytes, and maxNonces their number.
const (
	maxNonce  = 1 << 10
	maxNonces = 8
)

// NoteNonce implements oauth.Prover.
func (p *proofs) NoteNonce(rawURL string, h http.Header) bool {
	values := h["Dpop-Nonce"]
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxNonce {
		return false
	}
	origin := originOf(rawURL)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nonces[origin] == values[0] {
		return false
	}
	if p.nonces == nil || p.nonces[origin] == "" && len(p.nonces) >= maxNonces {
		p.nonces = make(map[string]string)
	}
	p.nonces[origin] = values[0]
	return true
}

// originOf returns the scheme, host and port of a URL.
func originOf(rawURL string) string {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return scheme + "://" + rest
}

// prepareProofs chooses the key of a login that requests bound tokens.
func (l *loginState) prepareProofs() (err error) {
	if !l.plan.proofs || l.prover != nil {
		return nil
	}
	if l.prover, err = l.proofs.fitting(l.plan.algs); err != nil {
		l.prover, err = nil, protocolError(l.serverURL, err)
	}
	return err
}

// wants reports whether a login requests tokens that are bound to a key.
func (m DPoPMode) wants(offered bool) bool { return m == DPoPAlways || m == DPoPAuto && offered }

// proofAlgorithms returns the algorithms of proofs that both servers take; nil if none names any.
func proofAlgorithms(resource, challenge, authorizationServer []string) []string {
	at := resource
	if len(at) == 0 {
		at = challenge
	}
	if len(at) == 0 || len(authorizationServer) == 0 {
		return append(at, authorizationServer...)
	}
	return oauth.Without(at, oauth.Without(at, authorizationServer))
}

// bound reports whether the token is bound to a key, so that each request needs a proof.
func (s *cachedToken) bound() bool { return s != nil && s.proofs != nil }

// prove puts a proof of possession on a request that carries the token, if the token is bound.
func (s *cachedToken) prove(req *http.Request) error {
	if !s.bound() {
		return nil // here, so that the compiler spares each request a call
	}
	return s.addProof(req)
}

func (s *cachedToken) addProof(req *http.Request) error {
	proof, err := s.proofs.Proof(cmp.Or(req.Method, http.MethodGet), provedURL(req), s.token)
	if err == nil {
		req.Header["Dpop"] = []string{proof}
	}
	return err
}

// noteNonce keeps the nonce of a response for the next proof.
func (s *cachedToken) noteNonce(req *http.Request, resp *http.Response) {
	if s.bound() {
		s.proofs.NoteNonce(provedURL(req), resp.Header)
	}
}

// provedURL returns the URL of a request as its server sees it, without the query.
func provedURL(req *http.Request) string {
	return (&url.URL{
		Scheme: req.URL.Scheme, Host: cmp.Or(req.Host, req.URL.Host), Path: req.URL.Path, RawPath: req.URL.RawPath,
	}).String()
}

// maxNonceRetries bounds how often one request is sent again for the nonce that the server wants.
const maxNonceRetries = 2

// wantsNonce reports whether a request was rejected for want of a nonce (RFC 9449, section 9),
// which says nothing about the token.
func (s *cachedToken) wantsNonce(resp *http.Response) bool {
	return s.bound() && resp.StatusCode == http.StatusUnauthorized &&
		oauth.ParseBearerChallenge(resp.Header).DPoPError == oauth.CodeUseDPoPNonce
}

// forNonce returns the token to send a request with again that was rejected for want of a nonce: the
// same, with the nonce that the rejection names; nil if that would not help.
func (r *retryState) forNonce(used *cachedToken, resp *http.Response) *cachedToken {
	values := resp.Header["Dpop-Nonce"]
	if r.nonces++; r.nonces > maxNonceRetries || len(values) != 1 || len(values[0]) > maxNonce {
		return nil
	}
	r.nonce = values[0]
	return used
}

// proveAgain makes the proof of a request that is sent again for a nonce. It has the nonce that the
// rejection named: the last one that was kept may be of a slower response to another request.
func (r *retryState) proveAgain(req *http.Request, token *cachedToken) error {
	nonce := r.nonce
	if r.nonce = ""; nonce == "" || !token.bound() {
		return nil
	}
	proof, err := token.proofs.proofWith(nonce, cmp.Or(req.Method, http.MethodGet), provedURL(req), token.token)
	if err == nil {
		req.Header["Dpop"] = []string{proof}
	}
	return err
}
