package handstamp_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
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

// A server may name the place of its metadata to requests without a token only, and have none at a
// well-known place. A login that follows a rejected token finds the authorization server all the same.
func TestMetadataNamedToRequestsWithoutToken(t *testing.T) {
	const insufficient = `Bearer error="insufficient_scope", scope="admin"`
	stepUp := lab.Habits{
		ResourceForm: lab.ResourceHeader, RequiredScope: "admin",
		ScopesSupported: []string{"read", "admin"}, ChallengeScope: "read",
	}
	for name, test := range map[string]struct {
		habits    lab.Habits
		challenge string
		root      string // the document at the well-known place of the origin
	}{
		"a step-up": {stepUp, insufficient, ""},
		"another resource at the origin": {stepUp, insufficient,
			`{"resource":"https://mcp.lab.test/other","authorization_servers":["https://other.example"]}`},
		"an invalid token": {lab.Habits{ResourceForm: lab.ResourceHeader}, `Bearer error="invalid_token"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, test.habits, func(t *testing.T, w *testenv.Env) {
				c, line := w.Recorded()
				line.OnResponse(func(req *http.Request, resp *http.Response) {
					switch {
					case req.URL.Path == testenv.AtMCP && req.Header.Get("Authorization") != "" && resp.StatusCode/100 == 4:
						resp.Header.Set("WWW-Authenticate", test.challenge)
					case req.URL.Path == testenv.AtResource && test.root != "":
						resp.StatusCode = http.StatusOK
						resp.Header.Set("Content-Type", "application/json")
						testenv.SetBody(resp, []byte(test.root))
					}
				})
				w.MustLogin(c)
				if test.habits.RequiredScope == "" {
					w.Lab.RevokeFamilies()
				}
				w.MustCall(c)
				w.WantTabs(2)
				if issuer := w.Record().Grant.Issuer; issuer != w.Lab.Issuer() {
					t.Errorf("the login is from %s", issuer)
				}
			})
		})
	}
}

// Where the metadata of a server is gone, no login of a request leaves the authorization server of the
// login before for default endpoints.
func TestMetadataIsGoneAfterLogin(t *testing.T) {
	testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
		c, line := w.Recorded()
		w.MustLogin(c)
		w.Lab.RevokeFamilies()
		w.Lab.Reset()
		line.OnResponse(func(req *http.Request, resp *http.Response) {
			if strings.HasPrefix(req.URL.Path, testenv.AtResource) {
				resp.StatusCode = http.StatusNotFound
				testenv.SetBody(resp, nil)
			}
		})
		err := w.Call(c)
		testenv.WantKind(t, err, handstamp.ErrProtocol)
		if !strings.Contains(fmt.Sprint(err), w.Lab.Issuer()) {
			t.Errorf("%v, want the authorization server of the login", err)
		}
		w.WantCounts(map[string]int{"other": 0})
		w.WantTabs(1)
	})
}
