package lab_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// TestCodeRejections sends code exchanges that must not work.
func TestCodeRejections(t *testing.T) {
	c := start(t, lab.Habits{})
	for name, test := range map[string]struct {
		changes url.Values
		code    string
	}{
		"another verifier": {url.Values{"code_verifier": {"another-verifier-that-is-also-long-enough-for-RFC-7636"}}, "invalid_grant"},
		"no verifier":      {url.Values{"code_verifier": {""}}, "invalid_grant"},
		"another redirect": {url.Values{"redirect_uri": {"http://127.0.0.1:9999/callback"}}, "invalid_grant"},
		"no redirect":      {url.Values{"redirect_uri": {""}}, "invalid_grant"},
		"another resource": {url.Values{"resource": {"https://example.com"}}, "invalid_target"},
		"made-up code":     {url.Values{"code": {"made up"}}, "invalid_grant"},
		"twice":            {url.Values{"code": {"a", "b"}}, "invalid_request"},
		"password":         {url.Values{"grant_type": {"password"}}, "unsupported_grant_type"},
	} {
		form := c.codeForm(c.authorize(nil).Get("code"), test.changes)
		response := c.do(c.tokenRequest(form))
		if response.status != http.StatusBadRequest || response.text("error") != test.code {
			t.Errorf("%s: %d %s", name, response.status, response.raw)
		}
	}

	stolen := c.authorize(nil).Get("code")
	c.server.RegisterClient(lab.ConfiguredClient{ID: "eve"})
	c.id = "eve"
	c.do(c.tokenRequest(c.codeForm(stolen, nil))).is(t, http.StatusBadRequest, "invalid_grant")
	c.id = "ana"
	c.do(c.tokenRequest(c.codeForm(stolen, nil))).is(t, http.StatusOK, "")

	inQuery := c.request(http.MethodPost, c.endpoint("/token")+"?"+c.codeForm("x", url.Values{"client_id": {"ana"}}).Encode(), "")
	c.do(inQuery).is(t, http.StatusBadRequest, "invalid_request")
	c.get(c.endpoint("/token")).is(t, http.StatusMethodNotAllowed, "invalid_request")
}

// TestCodeReuse revokes what the code was exchanged for.
func TestCodeReuse(t *testing.T) {
	c := start(t, lab.Habits{})
	form := c.codeForm(c.authorize(nil).Get("code"), nil)
	tokens := c.do(c.tokenRequest(form))
	c.do(c.tokenRequest(form)).is(t, http.StatusBadRequest, "invalid_grant")
	if c.works(tokens.text("access_token")) {
		t.Error("the access token survived")
	}
	c.refresh(tokens.text("refresh_token"), nil).is(t, http.StatusBadRequest, "invalid_grant")
	if audit := c.server.Audit(); audit.CodeReuses != 1 || audit.FamiliesRevoked != 1 {
		t.Errorf("audit %+v", audit)
	}
}

// TestExpiresIn shows each way to say when a token ends.
func TestExpiresIn(t *testing.T) {
	for how, want := range map[string]any{
		"": 90.0, lab.ExpiresNumber: 90.0, lab.ExpiresString: "90", lab.ExpiresOmitted: nil, lab.ExpiresZero: 0.0,
	} {
		c := start(t, lab.Habits{ExpiresIn: how, AccessTokenLifetime: 90 * time.Second})
		response := c.login(nil)
		got, there := response.document["expires_in"]
		if got != want || there != (how != lab.ExpiresOmitted) {
			t.Errorf("%q: %v", how, got)
		}
		c.server.Advance(90 * time.Second)
		if c.works(response.text("access_token")) {
			t.Errorf("%q: the access token did not end", how)
		}
	}
}

// TestFormResponses reads a form-encoded response.
func TestFormResponses(t *testing.T) {
	c := start(t, lab.Habits{FormResponses: true})
	response := c.do(c.tokenRequest(c.codeForm(c.authorize(nil).Get("code"), nil)))
	values, err := url.ParseQuery(response.raw)
	if err != nil || response.document != nil || !c.works(values.Get("access_token")) || values.Get("expires_in") != "3600" {
		t.Errorf("%v: %s", err, response.raw)
	}
}

// TestJWT reads when the access token ends from the token itself.
func TestJWT(t *testing.T) {
	c := start(t, lab.Habits{AccessTokenJWT: true, ExpiresIn: lab.ExpiresOmitted})
	token := c.login(nil).text("access_token")
	parts := strings.Split(token, ".")
	if len(parts) != 3 || !c.works(token) {
		t.Fatalf("%d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Issuer string `json:"iss"`
		Ends   int64  `json:"exp"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(time.Unix(claims.Ends, 0)); claims.Issuer != c.server.Issuer() || left < 59*time.Minute || left > time.Hour {
		t.Errorf("claims %+v", claims)
	}
}

// TestResourceHabits sends the resource parameter, or not, on each leg.
func TestResourceHabits(t *testing.T) {
	for _, test := range []struct {
		name   string
		habits lab.Habits
		bad    url.Values
	}{
		{"required, missing", lab.Habits{Resource: lab.ResourceRequired}, url.Values{"resource": {""}}},
		{"required, slash", lab.Habits{Resource: lab.ResourceRequired}, url.Values{"resource": {"SLASH"}}},
		{"rejected", lab.Habits{Resource: lab.ResourceRejected}, nil},
		{"checked", lab.Habits{}, url.Values{"resource": {"https://example.com"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t, test.habits)
			if test.bad.Get("resource") == "SLASH" {
				test.bad.Set("resource", c.server.ResourceURL()+"/")
			}
			var good url.Values
			if test.habits.Resource == lab.ResourceRejected {
				good = url.Values{"resource": {""}}
			}
			if got := c.authorize(test.bad).Get("error"); got != "invalid_target" {
				t.Errorf("first leg: %q", got)
			}
			code := c.authorize(good).Get("code")
			c.do(c.tokenRequest(c.codeForm(code, test.bad))).is(t, http.StatusBadRequest, "invalid_target")
			tokens := c.do(c.tokenRequest(c.codeForm(code, good)))
			tokens.is(t, http.StatusOK, "")
			c.refresh(tokens.text("refresh_token"), test.bad).is(t, http.StatusBadRequest, "invalid_target")
			again := c.refresh(tokens.text("refresh_token"), good)
			if test.habits.Resource == lab.ResourceRequired {
				again.is(t, http.StatusBadRequest, "invalid_grant")
			} else {
				again.is(t, http.StatusOK, "")
			}
		})
	}
}

// TestResourceLenient takes a slash more, and no resource at all, where nothing
// else is the habit.
func TestResourceLenient(t *testing.T) {
	c := start(t, lab.Habits{})
	for _, resource := range []string{"", c.server.MCPURL(), c.server.MCPURL() + "/"} {
		changes := url.Values{"resource": {resource}}
		code := c.authorize(changes).Get("code")
		c.do(c.tokenRequest(c.codeForm(code, changes))).is(t, http.StatusOK, "")
	}
	families := c.server.Audit().Families
	if got := families[2].Resource; got != c.server.MCPURL()+"/" {
		t.Errorf("noted resource %q", got)
	}
}

// TestScopes asks for scopes and looks at what is granted.
func TestScopes(t *testing.T) {
	habits := lab.Habits{
		ScopesSupported: []string{"read", "write", "admin"}, NeverGrant: []string{"admin"},
		ChallengeScope: "read", RequiredScope: "call",
	}
	c := start(t, habits)
	if got := c.call("", "ping", "").header.Get("WWW-Authenticate"); !strings.Contains(got, `scope="read"`) {
		t.Errorf("challenge %s", got)
	}
	tokens := c.login(url.Values{"scope": {"read admin write read"}})
	if got := tokens.text("scope"); got != "read write" {
		t.Errorf("granted %q", got)
	}
	c.refresh(tokens.text("refresh_token"), url.Values{"scope": {"read admin"}}).is(t, http.StatusBadRequest, "invalid_scope")
	if got := c.refresh(tokens.text("refresh_token"), url.Values{"scope": {"read"}}).text("scope"); got != "read" {
		t.Errorf("narrowed to %q", got)
	}

	access := tokens.text("access_token")
	const echo = `{"name":"echo","arguments":{"text":"x"}}`
	rejected := c.call(access, "tools/call", echo)
	challenge := rejected.header.Get("WWW-Authenticate")
	if rejected.status != http.StatusForbidden || !strings.Contains(challenge, `error="insufficient_scope"`) || !strings.Contains(challenge, `scope="call"`) {
		t.Errorf("%d %s", rejected.status, challenge)
	}
	if !c.works(access) {
		t.Error("ping needs the scope, too")
	}
	stepped := c.login(url.Values{"scope": {"read call"}}).text("access_token")
	if got := c.call(stepped, "tools/call", echo).status; got != http.StatusOK {
		t.Errorf("with the scope: %d", got)
	}
}

// TestOffline shows the habits around offline_access.
func TestOffline(t *testing.T) {
	for _, test := range []struct {
		offline, scope string
		rejected       bool
		refresh        bool
	}{
		{lab.OfflineIgnored, "", false, true},
		{lab.OfflineListed, "", false, false},
		{lab.OfflineListed, "offline_access", false, true},
		{lab.OfflineConsent, "offline_access", false, false},
		{lab.OfflineForbidden, "", false, false},
		{lab.OfflineForbidden, "offline_access", true, false},
	} {
		c := start(t, lab.Habits{Offline: test.offline})
		changes := url.Values{"scope": {test.scope}}
		response := c.authorize(changes)
		if rejected := response.Get("error") == "invalid_scope"; rejected != test.rejected {
			t.Errorf("%+v: %v", test, response)
		}
		if !test.rejected {
			if _, there := c.login(changes).document["refresh_token"]; there != test.refresh {
				t.Errorf("%+v: refresh token %v", test, there)
			}
		}
	}
}

// TestGrantsEnforced gives refresh tokens to who registered for them.
func TestGrantsEnforced(t *testing.T) {
	for _, test := range []struct {
		enforced bool
		grants   []string
		refresh  bool
	}{
		{true, []string{"authorization_code", "refresh_token"}, true},
		{true, []string{"authorization_code"}, false},
		{false, []string{"authorization_code"}, true},
	} {
		c := start(t, lab.Habits{GrantsEnforced: test.enforced})
		c.register(map[string]any{"grant_types": test.grants, "token_endpoint_auth_method": lab.MethodNone})
		if _, there := c.login(nil).document["refresh_token"]; there != test.refresh {
			t.Errorf("%+v: refresh token %v", test, there)
		}
		response := c.refresh(c.server.Issue(c.id, "", "").Refresh, nil)
		if test.refresh {
			response.is(t, http.StatusOK, "")
		} else {
			response.is(t, http.StatusBadRequest, "unauthorized_client")
		}
	}
}

// TestRevoke revokes by RFC 7009.
func TestRevoke(t *testing.T) {
	c := start(t, lab.Habits{})
	revoke := func(token, client string) reply {
		form := url.Values{"token": {token}, "client_id": {client}}
		r := c.request(http.MethodPost, c.endpoint("/revoke"), form.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return c.do(r)
	}
	c.server.RegisterClient(lab.ConfiguredClient{ID: "eve"})
	first, second := c.server.Issue("ana", "", ""), c.server.Issue("ana", "", "")
	revoke(first.Refresh, "unknown").is(t, http.StatusUnauthorized, "invalid_client")
	revoke("", "ana").is(t, http.StatusBadRequest, "invalid_request")
	revoke("unknown", "ana").is(t, http.StatusOK, "")
	revoke(first.Refresh, "eve").is(t, http.StatusOK, "")
	if !c.works(first.Access) {
		t.Error("another client's revocation worked")
	}
	revoke(first.Refresh, "ana").is(t, http.StatusOK, "")
	if c.works(first.Access) {
		t.Error("the access token of a revoked grant works")
	}
	revoke(second.Access, "ana").is(t, http.StatusOK, "")
	if c.works(second.Access) {
		t.Error("a revoked access token works")
	}
	c.refresh(first.Refresh, nil).is(t, http.StatusBadRequest, "invalid_grant")
	c.refresh(second.Refresh, nil).is(t, http.StatusOK, "")
}

// TestEarlyEnds ends tokens from the outside.
func TestEarlyEnds(t *testing.T) {
	c := start(t, lab.Habits{DeadGrant: "unauthorized_client"})
	for name, test := range map[string]struct {
		end        func()
		refreshed  int
		wantsError string
	}{
		"expired":         {c.server.ExpireAccessTokens, http.StatusOK, ""},
		"rejected early":  {c.server.RevokeAccessTokens, http.StatusOK, ""},
		"grant withdrawn": {c.server.RevokeFamilies, http.StatusBadRequest, "unauthorized_client"},
	} {
		tokens := c.login(nil)
		test.end()
		if c.works(tokens.text("access_token")) {
			t.Errorf("%s: the access token works", name)
		}
		c.refresh(tokens.text("refresh_token"), nil).is(t, test.refreshed, test.wantsError)
	}
}
