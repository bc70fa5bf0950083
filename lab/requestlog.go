package lab

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Request is the record of one request. It holds no secret: each is replaced by its [Fingerprint].
type Request struct {
	Number   int       // 1 for the first since Start or Reset
	Time     time.Time // of arrival, by the server's clock
	Endpoint string    // as in Counts
	Method   string    // the HTTP method
	Path     string
	Header   http.Header // secrets replaced
	Params   url.Values  // of query and form body, secrets replaced

	AuthMethod       string     // the client authentication seen: one of the Method constants, "both", or "" without client_id
	Assertion        *Assertion // the JWT of the client authentication; nil if there is none
	ClientID         string
	GrantType        string
	Resource         string
	Scope            string
	Refresh          string // Fingerprint of the refresh token
	Scheme           string // of the Authorization header
	Bearer           string // Fingerprint of the access token, whether the scheme is Bearer or DPoP
	Certificate      string // the client certificate's x5t#S256
	Proof            *Proof // the DPoP proof; nil if there is none that can be read
	RPC              string // the JSON-RPC method of an MCP request
	RegistrationBody string // the body of a registration

	Status int    // of the response; 0 if there is none, or not yet
	Error  string // the OAuth error code of the response
}

// String returns a line without secrets.
func (r Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s %s → %d", r.Number, r.Endpoint, r.Method, r.Path, r.Status)
	for _, part := range []struct{ name, value string }{
		{"error", r.Error}, {"auth", r.AuthMethod}, {"client", r.ClientID}, {"resource", r.Resource},
		{"scope", r.Scope}, {"refresh", r.Refresh}, {"bearer", r.Bearer}, {"rpc", r.RPC},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, " %s=%s", part.name, part.value)
		}
	}
	return b.String()
}

// Fingerprint returns a hash of a secret, for tests to compare with that of a secret that they
// know. It is empty for an empty secret.
func Fingerprint(secret string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(secret))
	return "sha256:" + base64.RawURLEncoding.EncodeToString(sum[:9])
}

// requestLog is the requests so far. It is guarded by Server.mu.
type requestLog struct {
	requests []*Request
	counts   map[string]int
}

// secretParams are the parameters that are replaced in the request log.
var secretParams = [...]string{
	"code", "code_verifier", "client_secret", "refresh_token", "access_token", "token", "state", "client_assertion",
	"assertion", "subject_token", "actor_token", "device_code", "request_uri",
}

// secretHeaders likewise.
var secretHeaders = [...]string{"Authorization", "Proxy-Authorization", "Cookie", "Dpop"}

// record adds a request that has just been received to the request log.
func (s *Server) record(x *exchange) {
	r := Request{
		Time:        s.clock.now(),
		Endpoint:    x.endpoint,
		Method:      x.r.Method,
		Path:        x.r.URL.Path,
		Header:      x.r.Header.Clone(),
		Params:      maps.Clone(x.form),
		AuthMethod:  x.seen.method,
		Assertion:   seenAssertion(x.seen.assertion),
		ClientID:    x.seen.id,
		GrantType:   x.form.Get("grant_type"),
		Resource:    x.form.Get("resource"),
		Scope:       x.form.Get("scope"),
		Refresh:     Fingerprint(x.form.Get("refresh_token")),
		RPC:         x.rpc,
		Certificate: certificateThumbprint(x.r),
	}
	if x.endpoint == "register" || x.endpoint == "registration" {
		r.RegistrationBody = withoutSecret(x.body)
	}
	r.Scheme, _, _ = strings.Cut(x.r.Header.Get("Authorization"), " ")
	for _, scheme := range []string{"Bearer", "DPoP"} {
		if token, ok := authorization(x.r, scheme); ok {
			r.Bearer = Fingerprint(token)
		}
	}
	for _, name := range secretParams {
		if values := r.Params[name]; values != nil {
			r.Params[name] = fingerprints(values)
		}
	}
	for _, name := range secretHeaders {
		if values := r.Header[name]; values != nil {
			r.Header[name] = fingerprints(values)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Number = len(s.log.requests) + 1
	s.countProof(x.seenProof)
	r.Proof = x.seenProof
	x.entry = &r
	s.log.requests = append(s.log.requests, x.entry)
	if s.log.counts == nil {
		s.log.counts = make(map[string]int)
	}
	s.log.counts[x.endpoint]++
}

// withoutSecret is the body of a registration request with its secret replaced.
func withoutSecret(body []byte) string {
	var members map[string]json.RawMessage
	var own struct {
		Secret string `json:"client_secret"`
	}
	if json.Unmarshal(body, &members) != nil || members["client_secret"] == nil ||
		json.Unmarshal(body, &own) != nil {
		return string(body)
	}
	members["client_secret"], _ = json.Marshal(Fingerprint(own.Secret))
	raw, _ := json.Marshal(members)
	return string(raw)
}

func fingerprints(values []string) []string {
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = Fingerprint(value)
	}
	return out
}

// recordStatus adds the status and the error code of a response to the request log.
func (s *Server) recordStatus(x *exchange, status int, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.entry.Status, x.entry.Error = status, code
}

// Requests returns every request since Start or Reset, in the order of their
// arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Request, len(s.log.requests))
	for i, r := range s.log.requests {
		out[i] = r.clone()
	}
	return out
}

func (r Request) clone() Request {
	r.Header = r.Header.Clone()
	r.Params = url.Values(http.Header(r.Params).Clone())
	return r
}

// Counts returns how many requests came, by endpoint: mcp, resource_metadata,
// server_metadata, register, registration, authorize (a browser opened),
// authorize:preflight (a program that marked its request as a prefetch),
// consent, par, device_authorization, device (its page), userinfo, jwks, token:code, token:refresh,
// token:client_credentials, token:device, token:jwt_bearer, token:exchange, token (another grant),
// revoke, other.
// Metadata is counted wherever it was looked for.
func (s *Server) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := maps.Clone(s.log.counts)
	if out == nil {
		out = make(map[string]int)
	}
	return out
}

// Reset empties the request log and the audit, clears every fault and releases every
// gate. Clients and tokens stay.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = requestLog{}
	s.rules = faults{}
	s.state.audit = Audit{}
	for _, f := range s.state.families {
		clear(f.presented)
	}
	for _, gate := range s.gates {
		gate.Release()
	}
	s.gates = nil
}
