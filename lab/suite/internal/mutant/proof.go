package mutant

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// wantsProof reports whether tokens for a resource are to be bound to a key: the resource says so,
// not the authorization server.
func (c *Client) wantsProof(rm *resourceMetadata, sm *serverMetadata, rejected *challenge) bool {
	if c.Defect == ListMeansProof {
		return len(sm.DPoP) > 0
	}
	return len(sm.DPoP) > 0 && (rm.DPoPRequired || len(rm.DPoP) > 0 || rejected.dpop)
}

// newKey makes a key to keep.
func newKey() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	return base64.StdEncoding.EncodeToString(raw), err
}

func (st *state) key() (*ecdsa.PrivateKey, error) {
	raw, err := base64.StdEncoding.DecodeString(st.Key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(raw)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the stored key is of another kind")
	}
	return key, nil
}

// send sends a request, with a proof if there is a key, and once more if the server wants another
// nonce in it.
func (c *Client) send(r *http.Request, st *state, token string) (*http.Response, error) {
	if st.Key == "" {
		return c.http.Do(r)
	}
	origin := r.URL.Scheme + "://" + r.URL.Host
	for repeated := false; ; repeated = true {
		sent := st.Nonces[origin]
		proof, err := c.proof(r, st, token, sent)
		if err != nil {
			return nil, err
		}
		r.Header.Set("DPoP", proof)
		response, err := c.http.Do(r)
		if err != nil {
			return nil, err
		}
		nonce := response.Header.Get("DPoP-Nonce")
		if nonce != "" && c.Defect != NonceIgnored {
			if st.Nonces == nil {
				st.Nonces = make(map[string]string)
			}
			st.Nonces[origin] = nonce
		}
		wanted, err := wantsNonce(response)
		if repeated || !wanted || err != nil {
			return response, err
		}
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
}

// wantsNonce reports whether a response rejects the nonce of a request. Its body can still be read.
func wantsNonce(response *http.Response) (bool, error) {
	raw, err := read(response)
	response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(raw))
	switch response.StatusCode {
	case http.StatusBadRequest:
		return bytes.Contains(raw, []byte(`"use_dpop_nonce"`)), err
	case http.StatusUnauthorized:
		challenges := strings.Join(response.Header.Values("WWW-Authenticate"), ", ")
		return param(challenges, "error") == "use_dpop_nonce", err
	}
	return false, err
}

// proof makes a DPoP proof (RFC 9449 section 4.2).
func (c *Client) proof(r *http.Request, st *state, token, nonce string) (string, error) {
	key, err := st.key()
	if err != nil {
		return "", err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	claims := map[string]any{
		"jti": rand.Text(), "htm": r.Method, "iat": time.Now().Unix(),
		"htu": r.URL.Scheme + "://" + r.URL.Host + r.URL.Path,
	}
	if c.Defect == ProofIDRepeated {
		claims["jti"] = "1"
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = encode(sum[:])
	}
	public := map[string]string{
		"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:]),
	}
	return sign(key, map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": public}, claims)
}

// sign makes a JWT with ES256.
func sign(key *ecdsa.PrivateKey, head, claims map[string]any) (string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	header, err := json.Marshal(head)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := encode(header) + "." + encode(payload)
	sum := sha256.Sum256([]byte(signed))
	a, b, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return "", err
	}
	signature := append(a.FillBytes(make([]byte, 32)), b.FillBytes(make([]byte, 32))...)
	return signed + "." + encode(signature), nil
}

// errClientUnknown reports that the server that a request was pushed to does not know the client.
var errClientUnknown = errors.New("the client is not known")

// address is the URL of an authorization request, which is pushed where the server wants that
// (RFC 9126).
func (c *Client) address(ctx context.Context, st *state, sm *serverMetadata,
	params url.Values) (string, error) {
	if !sm.PushRequired || c.Defect == NotPushed {
		return sm.Authorization + "?" + params.Encode(), nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, sm.Push,
		strings.NewReader(params.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.send(r, st, "")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	raw, err := read(response)
	if err != nil {
		return "", err
	}
	var pushed struct {
		URI string `json:"request_uri"`
	}
	switch {
	case response.StatusCode == http.StatusUnauthorized:
		return "", errClientUnknown
	case json.Unmarshal(raw, &pushed) != nil || pushed.URI == "":
		return "", errors.New("the request is not accepted")
	}
	short := url.Values{"client_id": {st.Client.ID}, "request_uri": {pushed.URI}}
	return sm.Authorization + "?" + short.Encode(), nil
}
