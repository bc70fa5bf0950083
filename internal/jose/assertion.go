package jose

import (
	"crypto"
	"crypto/hmac"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/secret"
)

const (
	// TypeClientAuthentication is the typ of a client assertion (RFC 10070, section 4). Servers
	// that follow it strictly take no other.
	TypeClientAuthentication = "client-authentication+jwt"

	// TypeJWT is what client assertions had before RFC 10070. Some servers take no other.
	TypeJWT = "JWT"

	defaultLifetime = time.Minute
	maxLifetime     = 5 * time.Minute
)

// ClientKey is a private key of a client with what names it: a *clientkey.Key.
type ClientKey interface {
	crypto.Signer
	ID() string

	// Certificate returns nil if the key has none.
	Certificate() *x509.Certificate
}

// AssertionClaims is what a client assertion claims (RFC 7523, section 3).
type AssertionClaims struct {
	ClientID string

	// Audience is the issuer of the authorization server (RFC 10070).
	Audience string

	// Lifetime is at most five minutes, and a minute if it is 0.
	Lifetime time.Duration

	// Type is the typ of the header, TypeClientAuthentication if it is empty.
	Type string
}

// Assertion returns a client assertion for private_key_jwt. It is used once: its jti is fresh.
func Assertion(
	key ClientKey, algorithm string, claims AssertionClaims, now time.Time,
) (secret.String, error) {
	header := assertionHeader{Algorithm: algorithm, KeyID: key.ID()}
	if certificate := key.Certificate(); certificate != nil {
		header.CertificateThumbprint = certificateThumbprint(certificate)
	}
	return assertion(header, claims, now, func(input []byte) ([]byte, error) {
		return sign(key, algorithm, input)
	})
}

// secretAlgorithms are those of client_secret_jwt.
var secretAlgorithms = []string{"HS256", "HS384", "HS512"}

// SecretAlgorithm chooses the algorithm of client_secret_jwt from those that a server supports,
// HS256 if it names none.
func SecretAlgorithm(supported []string) (string, error) {
	if len(supported) == 0 {
		return secretAlgorithms[0], nil
	}
	for _, algorithm := range secretAlgorithms {
		if slices.Contains(supported, algorithm) {
			return algorithm, nil
		}
	}
	return "", fmt.Errorf("client_secret_jwt needs one of %s: the server supports %s",
		strings.Join(secretAlgorithms, ", "), strings.Join(supported, ", "))
}

// SecretAssertion returns a client assertion for client_secret_jwt. A secret shorter than the
// hash is used as it is, although RFC 7518, section 3.2, forbids it: the server chose the secret,
// and only the server can tell whether it takes it.
func SecretAssertion(
	key secret.String, algorithm string, claims AssertionClaims, now time.Time,
) (secret.String, error) {
	if !slices.Contains(secretAlgorithms, algorithm) {
		return "", fmt.Errorf("a client secret cannot sign with %s: use one of %s",
			algorithm, strings.Join(secretAlgorithms, ", "))
	}
	if key == "" {
		return "", errors.New("client_secret_jwt needs a client secret")
	}
	header := assertionHeader{Algorithm: algorithm}
	return assertion(header, claims, now, func(input []byte) ([]byte, error) {
		return signSecret(key, algorithm, input), nil
	})
}

func signSecret(key secret.String, algorithm string, input []byte) []byte {
	mac := hmac.New(hashOf(algorithm).New, []byte(key.Reveal()))
	mac.Write(input)
	return mac.Sum(nil)
}

type assertionHeader struct {
	Algorithm             string `json:"alg"`
	Type                  string `json:"typ"`
	KeyID                 string `json:"kid,omitempty"`
	CertificateThumbprint string `json:"x5t#S256,omitempty"`
}

func assertion(
	header assertionHeader, claims AssertionClaims, now time.Time,
	sign func(input []byte) ([]byte, error),
) (secret.String, error) {
	if claims.ClientID == "" || claims.Audience == "" {
		return "", errors.New("a client assertion needs a client ID and an audience")
	}
	lifetime := claims.Lifetime
	if lifetime == 0 {
		lifetime = defaultLifetime
	}
	if lifetime < time.Second || lifetime > maxLifetime {
		return "", fmt.Errorf("a client assertion lives for a second to %s, not for %s",
			maxLifetime, lifetime)
	}
	header.Type = claims.Type
	if header.Type == "" {
		header.Type = TypeClientAuthentication
	}
	encoded, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		IssuedAt int64  `json:"iat"`
		Expiry   int64  `json:"exp"`
	}{claims.ClientID, claims.ClientID, claims.Audience, newID(),
		now.Unix(), now.Add(lifetime).Unix()})
	if err != nil {
		return "", err
	}
	token, err := compact(base64.RawURLEncoding.EncodeToString(encoded), payload, sign)
	if err != nil {
		return "", fmt.Errorf("signing a client assertion: %w", err)
	}
	return secret.String(token), nil
}
