package handstamp

import (
	"errors"
	"net/url"
	"strings"
	"sync"

	"github.com/handstamp/handstamp/internal/loopback"
	"github.com/handstamp/handstamp/internal/oauth"
)

// pastedParams returns the parameters of a URL that a user pasted, if it leads
// to the redirect URI.
func pastedParams(pasted, redirectURI string) (url.Values, error) {
	got, err := url.Parse(strings.TrimSpace(pasted))
	if err != nil {
		return nil, errors.New("that is not a URL")
	}
	want, err := url.Parse(redirectURI)
	if err != nil {
		return nil, err
	}
	if got.Scheme != want.Scheme || got.Host != want.Host || got.Path != want.Path || got.User != nil {
		return nil, errors.New("that URL does not begin with " + redirectURI)
	}
	return url.ParseQuery(got.RawQuery)
}

// maxUnboundNotices bounds the notices of one login about errors that anyone may
// have sent.
const maxUnboundNotices = 3

// checkCallback returns a function that separates the response to a login from any other call to
// its redirect URI. The function reports an error response without a state to the user, once
// for each code: some authorization servers leave the state out, but so would a
// stranger, and the wait goes on. It is safe for concurrent use.
func (cb *callbackReceiver) checkCallback(want oauth.ExpectedCallback) func(url.Values) error {
	var mu sync.Mutex
	reported := make(map[string]bool)
	return func(params url.Values) error {
		_, err := oauth.ParseCallback(params, want)
		if !errors.Is(err, oauth.ErrStateMismatch) {
			return err
		}
		if params.Has("state") || params.Get("error") == "" {
			return loopback.ErrIgnore
		}
		code := errorCodeOf(params, want.Secrets)
		mu.Lock()
		first := !reported[code] && len(reported) < maxUnboundNotices
		if first {
			reported[code] = true
		}
		mu.Unlock()
		if first {
			cb.notice("the sign-in page sent the browser back with the error %s, but without the state that ties it to this sign-in; still waiting", code)
		}
		return &loopback.UnboundError{Code: code}
	}
}

// errorCodeOf returns the OAuth error code of a callback, if it looks like one:
// its author is not known, and it is shown.
func errorCodeOf(params url.Values, secrets []oauth.Secret) string {
	code := params.Get("error")
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
	}
	if len(code) > 64 || strings.ContainsFunc(code, odd) || oauth.ContainsSecret(code, secrets) {
		return "that it cannot name"
	}
	return code
}
