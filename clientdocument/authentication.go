package clientdocument

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/jose"
)

// secretMembers are those that a registration has, and a document must not have.
var secretMembers = []string{
	"client_secret", "client_secret_expires_at", "registration_access_token",
}

// authentication checks how the client authenticates itself (sections 4.1 and 8.2).
func (f *findings) authentication(d Document, members map[string]json.RawMessage) {
	for _, secret := range secretMembers {
		if members[secret] != nil {
			f.fail("the document has %s: everyone can read the document", secret)
		}
	}
	if d.JWKS != nil && d.JWKSURI != "" {
		f.fail("the document has both jwks and jwks_uri: leave one of them")
	}
	f.method(d, members["token_endpoint_auth_method"] != nil)
	if d.JWKSURI != "" {
		f.keySetURL(d.JWKSURI)
	}
	if d.JWKS != nil {
		*f = append(*f, CheckKeySet(d.JWKS, d.TokenEndpointAuthAlg)...)
	}
	if strings.HasPrefix(d.TokenEndpointAuthAlg, "HS") || d.TokenEndpointAuthAlg == "none" {
		f.fail("token_endpoint_auth_signing_alg is %s, which is not one for a private key",
			d.TokenEndpointAuthAlg)
	}
}

func (f *findings) method(d Document, present bool) {
	switch d.TokenEndpointAuthMethod {
	case "":
		if !present { // else it is of the wrong type
			f.warn("token_endpoint_auth_method is missing, and some servers take it for " +
				"client_secret_basic: write none or private_key_jwt")
		}
	case "none", "tls_client_auth", "self_signed_tls_client_auth":
	case "private_key_jwt":
		if d.JWKS == nil && d.JWKSURI == "" {
			f.fail("private_key_jwt needs the client's public key: add jwks or jwks_uri")
		}
	case "client_secret_basic", "client_secret_post", "client_secret_jwt":
		f.fail("token_endpoint_auth_method is %s, and no server has a secret for this client: "+
			"use none or private_key_jwt", d.TokenEndpointAuthMethod)
	default:
		f.warn("token_endpoint_auth_method is %q, which is not known: use none or private_key_jwt",
			d.TokenEndpointAuthMethod)
	}
}

func (f *findings) keySetURL(location string) {
	u, err := url.Parse(location)
	switch {
	case err != nil || u.Host == "":
		f.fail("jwks_uri is not a URL")
	case u.Scheme != "https":
		f.fail("jwks_uri must start with https")
	case !isPublic(u.Hostname()):
		f.warn("servers fetch no JWK set from %s, which is not a public address", u.Hostname())
	}
}

// privateMembers are those of a JWK that has a private or a secret key.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// CheckKeySet checks the JWK set of a document, or the one at its jwks_uri. The algorithm is the
// document's token_endpoint_auth_signing_alg, if it has one.
func CheckKeySet(data []byte, algorithm string) []Finding {
	var f findings
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil || set.Keys == nil {
		f.fail(`the JWK set is not a JSON object with a list "keys"`)
		return f
	}
	for i, key := range set.Keys {
		if slices.ContainsFunc(privateMembers, func(name string) bool { return key[name] != nil }) {
			f.fail("key %d of the JWK set shows its private part: "+
				"replace the key, it is no longer secret", i+1)
		}
	}
	keys, err := jose.ParseKeys(data)
	if err != nil {
		f.fail("the JWK set cannot be read")
		return f
	}
	f.signingKeys(keys, len(set.Keys), algorithm)
	return f
}

// signingKeys checks the keys that could be read, of all that there are.
func (f *findings) signingKeys(keys []jose.Key, all int, algorithm string) {
	signing, suitable := 0, 0
	seen := make(map[string]bool)
	for _, key := range keys {
		if key.Use != "" && key.Use != "sig" {
			continue
		}
		signing++
		if algorithm == "" || slices.Contains(jose.Algorithms(key.Public), algorithm) &&
			(key.Algorithm == "" || key.Algorithm == algorithm) {
			suitable++
		}
		if seen[key.ID] {
			f.fail("two keys of the JWK set have the key ID %q", key.ID)
		}
		seen[key.ID] = true
	}
	switch {
	case signing == 0:
		f.fail("no key of the JWK set can verify a signature")
	case suitable == 0:
		f.fail("no key of the JWK set is for %s", algorithm)
	case len(keys) < all:
		f.warn("%d of %d keys of the JWK set cannot be used", all-len(keys), all)
	case all > 1 && seen[""]:
		f.warn("a key of the JWK set has no key ID (kid), by which servers choose it")
	}
}
