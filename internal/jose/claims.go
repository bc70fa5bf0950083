package jose

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// maxTokenBytes bounds a JWT that is parsed.
const maxTokenBytes = 64 << 10

// Claims is what is read of an id token, or of an access token that is a JWT (RFC 9068). A claim
// that is missing or has another type is empty.
type Claims struct {
	Issuer            string
	Subject           string
	Audience          []string
	Expiry            time.Time
	IssuedAt          time.Time
	NotBefore         time.Time
	AuthTime          time.Time
	Nonce             string
	AuthorizedParty   string
	ACR               string
	Email             string
	PreferredUsername string
	Name              string
}

// errNoJWT shows nothing of the token.
var errNoJWT = errors.New("not a signed JWT")

// UnverifiedClaims reads the claims of a JWT and verifies nothing: they are good for showing the
// user which account it is, and for no decision.
func UnverifiedClaims(token string) (Claims, error) {
	if len(token) > maxTokenBytes {
		return Claims{}, errors.New("the JWT is too large")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}, errNoJWT
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return Claims{}, errNoJWT
	}
	return readClaims(payload)
}

func readClaims(payload []byte) (Claims, error) {
	var members map[string]any
	if err := json.Unmarshal(payload, &members); err != nil || members == nil {
		return Claims{}, errNoJWT
	}
	text := func(name string) string { s, _ := members[name].(string); return s }
	date := func(name string) time.Time {
		seconds, ok := members[name].(float64)
		if !ok || seconds <= 0 || seconds > maxDate {
			return time.Time{}
		}
		return time.Unix(int64(seconds), 0)
	}
	return Claims{
		Issuer: text("iss"), Subject: text("sub"), Audience: audience(members["aud"]),
		Expiry: date("exp"), IssuedAt: date("iat"), NotBefore: date("nbf"), AuthTime: date("auth_time"),
		Nonce: text("nonce"), AuthorizedParty: text("azp"), ACR: text("acr"),
		Email: text("email"), PreferredUsername: text("preferred_username"), Name: text("name"),
	}, nil
}

// maxDate is the year 9999: what a time.Time can encode.
const maxDate = 253402300799

func audience(claim any) []string {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}
