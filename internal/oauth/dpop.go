package oauth

import (
	"net/http"
	"strings"
)

// Prover makes the proofs that bind tokens to a key (RFC 9449). It is safe for concurrent use.
type Prover interface {
	// Proof returns a proof for a request, with the nonce that its server last named, and with the
	// hash of the access token that the request carries, if that is not "".
	Proof(method, url string, accessToken Secret) (string, error)

	// NoteNonce keeps the nonce that the server of url names in the header of a response. It
	// reports whether there is one that differs from the one before.
	NoteNonce(url string, h http.Header) bool
}

// proving is a RoundTripper that gives each request a proof, also one that follows a redirect: a
// proof is for one URL, and is used once.
type proving struct {
	prover     Prover
	base       http.RoundTripper
	made       []Secret
	freshNonce bool // the last response has a nonce that differs from the one before
}

// RoundTrip implements http.RoundTripper.
func (p *proving) RoundTrip(req *http.Request) (*http.Response, error) {
	proof, err := p.prover.Proof(req.Method, req.URL.String(), "")
	if err != nil {
		return nil, err
	}
	p.made = append(p.made, Secret(proof))
	req.Header["Dpop"] = []string{proof}
	resp, err := p.base.RoundTrip(req)
	if err == nil {
		p.freshNonce = p.prover.NoteNonce(req.URL.String(), resp.Header)
	}
	return resp, err
}

// addTo returns the redactor with the proofs added, which a server may repeat; p may be nil.
func (p *proving) addTo(e redactor) redactor {
	if p == nil {
		return e
	}
	return e.withSecrets(p.made)
}

// CodeUseDPoPNonce is the error code of a server that wants its nonce in the proof (RFC 9449
// section 8).
const CodeUseDPoPNonce = "use_dpop_nonce"

// wantsNonce reports whether an error response wants a proof with the server's nonce.
func wantsNonce(a *response) bool {
	return a.reply("token").rejection().code == CodeUseDPoPNonce
}

// WantsProof reports whether an error response may be about a proof that is missing: there is no
// code for that, so servers use one of RFC 9449 or a sentence.
func (e *Error) WantsProof() bool {
	return e.Code == CodeUseDPoPNonce || e.Code == "invalid_dpop_proof" ||
		strings.Contains(strings.ToLower(e.Description), "dpop")
}
