// Package clientdocument writes, checks and serves client ID metadata documents
// (draft-ietf-oauth-client-id-metadata-document-02, which the MCP specification of 2026-07-28
// cites): the URL of the document is the client's ID.
package clientdocument

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/jose"
)

// Document has the members of a document that this package writes or checks (RFC 7591, section
// 2). A document may have others.
type Document struct {
	ClientID                string          `json:"client_id"`
	ClientName              string          `json:"client_name"`
	ClientURI               string          `json:"client_uri,omitempty"`
	LogoURI                 string          `json:"logo_uri,omitempty"`
	ApplicationType         string          `json:"application_type,omitempty"`
	RedirectURIs            []string        `json:"redirect_uris,omitempty"`
	GrantTypes              []string        `json:"grant_types,omitempty"`
	ResponseTypes           []string        `json:"response_types,omitempty"`
	Scope                   string          `json:"scope,omitempty"`
	TokenEndpointAuthMethod string          `json:"token_endpoint_auth_method"`
	TokenEndpointAuthAlg    string          `json:"token_endpoint_auth_signing_alg,omitempty"`
	JWKSURI                 string          `json:"jwks_uri,omitempty"`
	JWKS                    json.RawMessage `json:"jwks,omitempty"`
}

// Complete fills in what follows from the rest of the document and keys: the client authenticates
// itself with private_key_jwt if there are keys, and else not at all. The keys are in the document
// unless it has a jwks_uri.
func (d *Document) Complete(keys ...*clientkey.Key) {
	if len(d.GrantTypes) == 0 {
		d.GrantTypes = []string{"authorization_code", "refresh_token"}
	}
	if len(d.ResponseTypes) == 0 && usesRedirect(d.GrantTypes) {
		d.ResponseTypes = []string{"code"}
	}
	if d.ApplicationType == "" && len(d.RedirectURIs) > 0 {
		d.ApplicationType = "web"
		if anyNative(d.RedirectURIs) {
			d.ApplicationType = "native"
		}
	}
	if d.TokenEndpointAuthMethod == "" {
		d.TokenEndpointAuthMethod = "none"
		if len(keys) > 0 || d.JWKSURI != "" {
			d.TokenEndpointAuthMethod = "private_key_jwt"
		}
	}
	if d.JWKSURI == "" && len(keys) > 0 {
		d.JWKS = KeySet(keys...)
	}
}

// Encode returns the document as it is served. It is an error if [Check] finds an error in it.
func (d Document) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, err
	}
	data = append(data, '\n')
	var problems []string
	for _, finding := range Check(d.ClientID, data) {
		if finding.Error {
			problems = append(problems, finding.Text)
		}
	}
	if len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	return data, nil
}

// KeySet returns the JWK set of the public keys. To change the key, publish the new one beside the
// old one for as long as servers may keep what they fetched.
func KeySet(keys ...*clientkey.Key) []byte {
	jwks := make([][]byte, len(keys))
	for i, key := range keys {
		jwks[i] = key.JWK()
	}
	return jose.MarshalKeySet(jwks...)
}

// CheckKey reports whether servers find key in the JWK set that the client publishes.
func CheckKey(key *clientkey.Key, keySet []byte) error {
	keys, err := jose.ParseKeys(keySet)
	if err != nil {
		return fmt.Errorf("the JWK set: %w", err)
	}
	own, err := jose.Thumbprint(key.Public())
	if err != nil {
		return err
	}
	for _, published := range keys {
		if thumbprint, err := jose.Thumbprint(published.Public); err != nil || thumbprint != own {
			continue
		}
		if published.ID != "" && published.ID != key.ID() {
			return fmt.Errorf("the client key signs with the key ID %q and is published with %q",
				key.ID(), published.ID)
		}
		return nil
	}
	return fmt.Errorf("the client key %q is not in the JWK set that the client publishes", key.ID())
}
