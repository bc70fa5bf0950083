package handstamp

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// maxKnownSecrets bounds the secrets that are remembered. Those of the record before are among
// them: a logout has them revoked when the record has none any more.
const maxKnownSecrets = 24

// knownSecrets are the secrets of one credential. A server may repeat in an error what another
// request of the login carried, so no text of a server that is shown or stored may contain one
// of them. Its methods may be called concurrently.
type knownSecrets struct {
	configured []secret.String // those of the configuration; one that is not set is empty
	current    atomic.Pointer[[]secret.String]
}

// note remembers the secrets of a record that was read or is written.
func (k *knownSecrets) note(rec *record.Record) {
	var all []secret.String
	add := func(secrets ...secret.String) {
		for _, s := range secrets {
			if s != "" && !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	if g := rec.Grant; g != nil {
		add(g.AccessToken, g.RefreshToken, g.IDToken)
	}
	for _, c := range rec.Clients {
		add(c.Secret, c.RegistrationAccessToken)
	}
	add(k.configured...)
	add(k.all()...)
	all = all[:min(len(all), maxKnownSecrets)]
	k.current.Store(&all)
}

// all returns the secrets of the records that were read or written last.
func (k *knownSecrets) all() []secret.String {
	if all := k.current.Load(); all != nil {
		return *all
	}
	return nil
}

// shown returns a text of a server as it may be shown and logged: one short line without what hides
// or reorders text, and without the secrets.
func (k *knownSecrets) shown(text string) string {
	if text == "" || text == redactedValue {
		return text
	}
	return oauth.Sanitize(oauth.RedactSecrets(text, k.all()))
}

// maxShownList bounds a list that is shown, and maxRedactedList one that has a secret: each of its
// values is searched by itself.
const (
	maxShownList    = 1000
	maxRedactedList = 20
)

// shownScope returns the scopes of a server as they may be shown.
func (k *knownSecrets) shownScope(scope string) string {
	return strings.Join(k.shownList(strings.Fields(scope)), " ")
}

// shownList returns a list of a server as it may be shown.
func (k *knownSecrets) shownList(values []string) []string {
	if values == nil {
		return nil
	}
	values = values[:min(len(values), maxShownList)]
	clean := oauth.Sanitize
	if containsSecret(strings.Join(values, " "), k.all()) { // which costs less than each by itself
		clean, values = k.shown, values[:min(len(values), maxRedactedList)]
	}
	shown := make([]string, len(values))
	for i, value := range values {
		shown[i] = clean(value)
	}
	return shown
}

// containsSecret is [oauth.ContainsSecret] for a text of any length. A part of it ends and begins at the
// end of a word, if it can: what is known to be a word of the protocol is none where it is cut.
func containsSecret(text string, secrets []secret.String) bool {
	const window, overlap = 16 << 10, 512 // of what is searched at once, in bytes
	for len(text) > window {
		end := betweenWords(text[:window])
		if oauth.ContainsSecret(text[:end], secrets) {
			return true
		}
		text = text[betweenWords(text[:end-overlap]):]
	}
	return oauth.ContainsSecret(text, secrets)
}

// betweenWords returns the length of a text without its last word, unless that is a long one.
func betweenWords(text string) int {
	const longest = 256 // bytes of a word of the protocol, and more
	tail := text[len(text)-longest:]
	if end := strings.LastIndexAny(tail, " \n\"'=&,:;<>"); end >= 0 {
		return len(text) - longest + end
	}
	return len(text)
}

// challengeOf returns the Bearer challenge of a response, without what repeats a secret. The
// request was sent with the token, or with none.
func (k *knownSecrets) challengeOf(resp *http.Response, used *cachedToken) oauth.BearerChallenge {
	secrets := slices.Clip(k.all())
	if used != nil {
		secrets = append(secrets, used.token)
	}
	return oauth.ParseBearerChallenge(resp.Header).WithoutSecrets(secrets...)
}

// maxShownPath bounds the path of a URL that a server gave and that is shown, in bytes.
const maxShownPath = 200

// shownURL returns the origin and the path of a URL that a server gave to be shown, without what
// the server has put a secret into, one of the record or of the headers that it was sent.
func (k *knownSecrets) shownURL(u *url.URL, header http.Header) string {
	secrets := slices.Clip(k.all())
	for name, values := range header {
		switch name {
		case "Accept", "Content-Type", "Mcp-Protocol-Version", "Origin", "Referer", "User-Agent":
			continue // of the protocol, or where the request came from, which may be near
		}
		for _, value := range values {
			secrets = append(secrets, secret.String(value))
			if _, credentials, ok := strings.Cut(value, " "); ok {
				secrets = append(secrets, secret.String(credentials))
			}
		}
	}
	origin, path := oauth.Origin(u), u.EscapedPath()
	switch {
	case oauth.ContainsSecret(origin, secrets):
		return "a URL with a secret of the request in it"
	case len(path) > maxShownPath || oauth.ContainsSecret(path, secrets) || oauth.ContainsSecret(u.Path, secrets):
		return origin
	}
	return origin + path
}
