package handstamp_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// TestRefreshTokenByParameter checks that an OpenID provider gives a refresh
// token at every login, and that nobody else is bothered with what that takes.
func TestRefreshTokenByParameter(t *testing.T) {
	google, ok := lab.FindPersonality("google-offline")
	if !ok {
		t.Fatal("there is no google-offline")
	}
	for _, test := range []struct {
		name   string
		habits lab.Habits
		extra  url.Values
		want   string // access_type, prompt
	}{
		{"OpenID without offline_access", google.Habits, nil, "offline consent"},
		{"the user knows better", google.Habits, url.Values{"prompt": {"none"}}, "offline none"},
		{"offline_access is listed", lab.Habits{ScopesSupported: []string{"openid"}, Offline: lab.OfflineListed}, nil, " consent"},
		{"and ignored without consent", lab.Habits{ScopesSupported: []string{"openid"}, Offline: lab.OfflineConsent}, nil, " consent"},
		{"offline_access, no OpenID provider", lab.Habits{ScopesSupported: []string{"tools"}, Offline: lab.OfflineListed}, nil, " "},
		{"no OpenID provider", lab.Habits{ScopesSupported: []string{"tools"}}, nil, " "},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.habits)
			for range 2 {
				w.lab.RevokeFamilies()
				c := w.session()
				c.ExtraAuthParams = test.extra
				w.mustCall(c)
				w.lab.ExpireAccessTokens()
				tabs := w.tabs.Load()
				if strings.HasSuffix(test.want, "consent") {
					w.mustCall(w.session())
					w.wantTabs(tabs)
				}
			}
			for _, r := range w.lab.Requests() {
				if got := r.Params.Get("access_type") + " " + r.Params.Get("prompt"); r.Endpoint == "authorize" && got != test.want {
					t.Errorf("%q in an authorization request, want %q", got, test.want)
				}
			}
		})
	}
}
