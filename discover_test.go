package handstamp_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// A scope that was stepped up to is requested at once by the next login.
func TestNextLoginAsksForTheWholeScope(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "step-up"))
	w.MustCall(w.Session())
	w.WantTabs(2)
	w.Lab.RevokeFamilies()
	w.MustCall(w.Session())
	w.WantTabs(3)
}

// A scope that the server did not grant is not requested by every session.
func TestUngrantedScopeIsAskedForOnce(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "step-up-never"))
	for range 3 {
		if err := w.Call(w.Session()); err == nil {
			t.Fatal("the call got through")
		}
		w.WantTabs(2)
	}
}

// A step-up asks for all that was requested before, and not only for what was
// granted of it.
func TestStepUpAsksForTheUnion(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "step-up"))
	w.MustCall(w.Session())
	rec := w.Record()
	rec.Grant.ScopeRequested, rec.Grant.ScopeGranted = "tools reports", "tools"
	tokens := w.Lab.Issue(rec.Grant.ClientID, rec.Grant.Resource.Value, "tools")
	rec.Grant.AccessToken, rec.Grant.RefreshToken = secret.String(tokens.Access), secret.String(tokens.Refresh)
	w.Put(rec)
	c, opened := watching(w)
	w.MustCall(c)
	if len(*opened) != 1 {
		t.Fatalf("%d step-ups", len(*opened))
	}
	scope := strings.Fields((*opened)[0].Get("scope"))
	for _, want := range []string{"tools", "reports", "tools:call"} {
		if !strings.Contains(" "+strings.Join(scope, " ")+" ", " "+want+" ") {
			t.Errorf("requested %q, without %s", scope, want)
		}
	}
}

// After invalid_scope the next request is for what both documents list, and not
// at once for nothing.
func TestRejectedScopeLeavesTheRest(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "offline-forbidden"))
	c, opened := watching(w)
	w.MustCall(c)
	var scopes []string
	for _, request := range *opened {
		scopes = append(scopes, request.Get("scope"))
	}
	if got := strings.Join(scopes, ", "); got != "tools offline_access, tools" {
		t.Errorf("requested %s", got)
	}
}

// That an authorization server rejects the resource parameter is known in the next
// login.
func TestRejectedResourceIsRemembered(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "resource-rejected"))
	w.MustCall(w.Session())
	w.Lab.RevokeFamilies()
	c, opened := watching(w)
	w.MustCall(c)
	if len(*opened) != 1 || (*opened)[0].Has("resource") {
		t.Errorf("opened %v", *opened)
	}
}

// TestRefreshTokenByParameter checks that an OpenID provider gives a refresh
// token at every login, and that other servers get no extra requests for that.
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
			w := testenv.New(t, test.habits)
			for range 2 {
				w.Lab.RevokeFamilies()
				c := w.Session()
				c.ExtraAuthParams = test.extra
				w.MustCall(c)
				w.Lab.ExpireAccessTokens()
				tabs := w.Tabs.Load()
				if strings.HasSuffix(test.want, "consent") {
					w.MustCall(w.Session())
					w.WantTabs(tabs)
				}
			}
			for _, r := range w.Lab.Requests() {
				if got := r.Params.Get("access_type") + " " + r.Params.Get("prompt"); r.Endpoint == "authorize" && got != test.want {
					t.Errorf("%q in an authorization request, want %q", got, test.want)
				}
			}
		})
	}
}
