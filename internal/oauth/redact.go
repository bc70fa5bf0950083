package oauth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/redact"
)

// redactor holds the secrets of a request, which an error text must not contain. Some servers
// repeat the token, the secret or the whole Authorization header in their error response, as it
// was sent or in another encoding.
type redactor []string

// publicParams are the form parameters that an error may repeat.
var publicParams = []string{
	"actor_token_type", "audience", "client_assertion_type", "client_id", "grant_type", "redirect_uri",
	"requested_token_type", "resource", "scope", "subject_token_type", "token_type_hint",
}

// redactorOf returns the redactor for a form request: it holds the parameters that are not public
// and the credentials of the Authorization header.
func redactorOf(form url.Values, header http.Header) redactor {
	var e redactor
	for name, values := range form {
		if !slices.Contains(publicParams, name) {
			e = append(e, values...)
		}
	}
	for _, value := range header["Authorization"] {
		_, credentials, _ := strings.Cut(value, " ")
		e = append(e, credentials)
		// The client_id is not a secret: an error may name it.
		if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
			_, encoded, _ := strings.Cut(string(pair), ":")
			e = append(e, encoded)
			if secret, err := url.QueryUnescape(encoded); err == nil {
				e = append(e, secret)
			}
		}
	}
	return e
}

// addKnownSecrets returns the redactor with [Fetcher.Secrets] added.
func (f *Fetcher) addKnownSecrets(e redactor) redactor {
	if f.Secrets == nil {
		return e
	}
	return e.withSecrets(f.Secrets())
}

// withSecrets returns the redactor with more secrets.
func (e redactor) withSecrets(secrets []Secret) redactor {
	e = slices.Clip(e)
	for _, secret := range secrets {
		e = append(e, secret.Reveal())
	}
	return e
}

// secretMembers are the members of a response that an error about it must not contain.
var secretMembers = []string{
	"access_token", "client_secret", "id_token", "refresh_token", "registration_access_token",
}

// withResponse returns the redactor with the secrets of a response added.
func (e redactor) withResponse(o object) redactor {
	e = slices.Clip(e)
	for _, name := range secretMembers {
		e = append(e, o.text(name))
	}
	return e
}

// redact removes the secrets from a text of a server; see [redact.Text].
func (e redactor) redact(text string) string { return redact.Text(text, e...) }

// has reports whether a text of a server, of a few KiB, contains a secret or a piece of one.
func (e redactor) has(text string) bool { return redact.Whole(text, e...) != text }

// RedactSecrets returns the text with [Redacted] in place of each piece of a secret, in any encoding
// that [redact.Text] knows.
func RedactSecrets(text string, secrets []Secret) string {
	return redactor(nil).withSecrets(secrets).redact(text)
}

// ContainsSecret reports whether a text of a server, of a few KiB, contains a secret or a piece of
// one, in any encoding that [redact.Text] knows.
func ContainsSecret(text string, secrets []Secret) bool {
	return redactor(nil).withSecrets(secrets).has(text)
}

// WithoutSecrets returns the challenge without the parts that contain a secret, such as the access
// token of the request: scopes and the metadata's URL go into requests and messages. It looks at all
// scopes at once: a server that knows the token decides how many there are.
func (b BearerChallenge) WithoutSecrets(secrets ...Secret) BearerChallenge {
	e := redactor(nil).withSecrets(secrets)
	user := b.ACRValues + " " + b.MaxAge
	if !e.has(b.ResourceMetadata + " " + b.Scope + " " + user) {
		return b
	}
	if e.has(b.ResourceMetadata) {
		b.ResourceMetadata = ""
	}
	scopes := strings.Fields(redact.Whole(b.Scope, e...))
	b.Scope = strings.Join(slices.DeleteFunc(scopes, func(scope string) bool {
		return strings.Contains(scope, Redacted)
	}), " ")
	if e.has(user) {
		b.ACRValues, b.MaxAge = "", ""
	}
	return b
}

// redactError returns err, or an error of the same kind with another text if its own contains a
// secret: package net/http quotes what it cannot parse.
func (e redactor) redactError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if shown := e.redact(text); shown != text {
		return &hiddenError{text: shown, err: err}
	}
	return err
}

// RedactError returns err, or an error of the same kind whose text has none of the secrets.
func RedactError(err error, secrets []Secret) error {
	return redactor(nil).withSecrets(secrets).redactError(err)
}

// hiddenError is an error whose own text is not shown. It has no Unwrap, which would reveal it.
type hiddenError struct {
	text string
	err  error
}

func (h *hiddenError) Error() string        { return h.text }
func (h *hiddenError) Is(target error) bool { return errors.Is(h.err, target) }
func (h *hiddenError) As(target any) bool   { return errors.As(h.err, target) }
