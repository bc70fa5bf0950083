package oauth

import (
	"net/url"
	"strings"
)

// echo is what a request carried that must not be repeated to anybody. Some
// servers say in an error which token or secret it was that they did not like.
type echo []string

// leastEcho is the length of the shortest secret that is looked for: a shorter
// one would be found in words that have nothing to do with it.
const leastEcho = 6

// echoOf returns the secrets of a form request.
func echoOf(form url.Values, client Authenticator) echo {
	var e echo
	for _, name := range []string{"code", "code_verifier", "refresh_token", "token", "client_secret", "client_assertion"} {
		e = append(e, form.Get(name))
	}
	if c, ok := client.(ClientCredentials); ok {
		e = append(e, c.Secret.Reveal())
	}
	return e
}

// remove takes the secrets out of a text that came back.
func (e echo) remove(text string) string {
	for _, secret := range e {
		if len(secret) < leastEcho {
			continue
		}
		for _, form := range []string{secret, url.QueryEscape(secret), Sanitize(secret)} {
			text = strings.ReplaceAll(text, form, "[redacted]")
		}
	}
	return text
}
