package handstamp

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// maxKnownSecrets bounds the secrets that are remembered. Those of the record before are among
// them: a logout has them revoked when the record has none any more.
const maxKnownSecrets = 24

// knownSecrets are the secrets that no text of a server may repeat. It is safe for concurrent use.
type knownSecrets struct {
	config *configuration
	latest atomic.Pointer[[]oauth.Secret]
}

// note remembers the secrets of a record that was read or is written. A server may
// repeat in an error what another request of the login carried, so no text of a server that is
// shown or stored may contain one of them.
func (k *knownSecrets) note(rec *store.Record) {
	var all []oauth.Secret
	add := func(secret store.Secret) {
		if secret != "" && !slices.Contains(all, secret) {
			all = append(all, secret)
		}
	}
	if g := rec.Grant; g != nil {
		add(g.AccessToken)
		add(g.RefreshToken)
		add(g.IDToken)
	}
	for _, c := range rec.Clients {
		add(c.Secret)
		add(c.RegistrationAccessToken)
	}
	if r := k.config.Registration; r != nil {
		add(r.ClientSecret)
	}
	for _, old := range k.all() {
		add(old)
	}
	all = all[:min(len(all), maxKnownSecrets)]
	k.latest.Store(&all)
}

// all returns the secrets of the record that was read or written last.
func (k *knownSecrets) all() []oauth.Secret {
	if all := k.latest.Load(); all != nil {
		return *all
	}
	return nil
}

// challengeOf returns the Bearer challenge of a response, without what repeats a secret. The
// request was sent with the token, or with none.
func (m *mcpServer) challengeOf(resp *http.Response, used *cachedToken) oauth.BearerChallenge {
	secrets := slices.Clip(m.secrets.all())
	if used != nil {
		secrets = append(secrets, used.token)
	}
	return oauth.ParseBearerChallenge(resp.Header).WithoutSecrets(secrets...)
}

// maxShownPath bounds the path of a URL that a server gave and that is shown, in bytes.
const maxShownPath = 200

// shownURL returns the origin and the path of a URL that a server gave to be shown, without what
// the server has put a secret into, one of the record or of the headers that it was sent.
func (m *mcpServer) shownURL(u *url.URL, header http.Header) string {
	secrets := slices.Clip(m.secrets.all())
	for name, values := range header {
		switch name {
		case "Accept", "Content-Type", "Mcp-Protocol-Version", "Origin", "Referer", "User-Agent":
			continue // of the protocol, or where the request came from, which may be near
		}
		for _, value := range values {
			secrets = append(secrets, oauth.Secret(value))
			if _, credentials, ok := strings.Cut(value, " "); ok {
				secrets = append(secrets, oauth.Secret(credentials))
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
