package jose

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Expected is what the claims of an id token are checked against (OpenID Connect Core,
// section 3.1.3.7).
type Expected struct {
	Issuer   string
	ClientID string

	// Nonce is the nonce of the authorization request. Without one the claim is not checked.
	Nonce string

	// Now is the present if it is zero.
	Now time.Time

	// Skew is by how much the server's clock may differ, a minute if it is 0.
	Skew time.Duration
}

var (
	// ErrKeyNotFound is the error of an id token that no key of the set verifies: the issuer may
	// have rotated its keys since the set was fetched.
	ErrKeyNotFound = errors.New("no key of the issuer verifies the id token")

	// ErrExpired is the error of an id token that has expired by the clock of this machine.
	ErrExpired = errors.New("the id token has expired")

	// ErrNotYetValid is the error of an id token from the future.
	ErrNotYetValid = errors.New("the id token is from the future: the clocks differ")
)

// idTokenAlgorithms has neither "none" nor HMAC, whose key would be the client secret.
var idTokenAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// VerifyIDToken verifies signature and claims of an id token with the JWK set of its issuer.
func VerifyIDToken(token string, keySet []byte, expected Expected) (Claims, error) {
	if len(token) > maxTokenBytes {
		return Claims{}, errors.New("the id token is too large")
	}
	signed, err := jose.ParseSignedCompact(token, idTokenAlgorithms)
	if err != nil {
		return Claims{}, errors.New("the id token is not a JWT signed with an RSA, EC or EdDSA key")
	}
	if typ, _ := signed.Signatures[0].Header.ExtraHeaders[jose.HeaderType].(string); otherType(typ) {
		return Claims{}, fmt.Errorf("the token has the type %q, which is not the one of an id token", typ)
	}
	keys, err := ParseKeys(keySet)
	if err != nil {
		return Claims{}, fmt.Errorf("the issuer's keys: %w", err)
	}
	payload, err := verify(signed, keys)
	if err != nil {
		return Claims{}, err
	}
	claims, err := readClaims(payload)
	if err != nil {
		return Claims{}, err
	}
	if err := expected.check(claims); err != nil {
		return Claims{}, err
	}
	return claims, nil
}

// CheckIDToken checks the claims of an id token that came from its issuer directly, over a connection
// that was verified, where its keys cannot be had.
func CheckIDToken(token string, expected Expected) error {
	claims, err := UnverifiedClaims(token)
	if err != nil {
		return err
	}
	return expected.check(claims)
}

// otherType reports whether typ is the explicit type of another kind of JWT (RFC 8725, section
// 3.11). Id tokens need none.
func otherType(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	return strings.HasSuffix(typ, "+jwt") && typ != "id_token+jwt"
}

// verify tries the key that the token names, and without a name all of them.
func verify(signed *jose.JSONWebSignature, keys []Key) ([]byte, error) {
	header := signed.Signatures[0].Header
	for _, key := range keys {
		if header.KeyID != "" && key.ID != "" && key.ID != header.KeyID ||
			key.Use != "" && key.Use != "sig" ||
			key.Algorithm != "" && key.Algorithm != header.Algorithm ||
			!slices.Contains(Algorithms(key.Public), header.Algorithm) {
			continue
		}
		if payload, err := signed.Verify(key.Public); err == nil {
			return payload, nil
		}
	}
	return nil, ErrKeyNotFound
}

func (e Expected) check(claims Claims) error {
	switch {
	case claims.Issuer != e.Issuer:
		return fmt.Errorf("the id token is from issuer %q instead of %q", claims.Issuer, e.Issuer)
	case claims.Subject == "":
		return errors.New("the id token has no subject")
	case !slices.Contains(claims.Audience, e.ClientID):
		return errors.New("the id token is for another client")
	case len(claims.Audience) > 1 && claims.AuthorizedParty != e.ClientID:
		return errors.New("the id token is for several clients and authorizes another one")
	case e.Nonce != "" && claims.Nonce != e.Nonce:
		return errors.New("the id token has the nonce of another login")
	}
	return e.checkDates(claims)
}

func (e Expected) checkDates(claims Claims) error {
	now, skew := e.Now, e.Skew
	if now.IsZero() {
		now = time.Now()
	}
	if skew == 0 {
		skew = time.Minute
	}
	switch latest := now.Add(skew); {
	case claims.Expiry.IsZero() || claims.IssuedAt.IsZero():
		return errors.New("the id token does not have both dates, exp and iat")
	case !now.Before(claims.Expiry.Add(skew)):
		return fmt.Errorf("%w at %s", ErrExpired, claims.Expiry.UTC().Format(time.RFC3339))
	case claims.IssuedAt.After(latest) || claims.NotBefore.After(latest):
		return ErrNotYetValid
	}
	return nil
}
