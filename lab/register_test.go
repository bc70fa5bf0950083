package lab_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// TestRegister requests auth methods and checks those of the response.
func TestRegister(t *testing.T) {
	yes, no := true, false
	for _, test := range []struct {
		name    string
		habits  lab.Habits
		request string
		method  string // in the response; "" if it has none
		secret  bool
	}{
		{"as requested", lab.Habits{}, lab.MethodPost, lab.MethodPost, true},
		{"as requested, public", lab.Habits{}, lab.MethodNone, lab.MethodNone, false},
		{"nothing requested", lab.Habits{}, "", lab.MethodBasic, true},
		{"otherwise", lab.Habits{RegisterMethod: lab.MethodBasic}, lab.MethodNone, lab.MethodBasic, true},
		{"silent", lab.Habits{RegisterMethod: lab.MethodPost, RegisterSilent: true}, lab.MethodNone, "", true},
		{"secret for nothing", lab.Habits{RegisterSecret: &yes}, lab.MethodNone, lab.MethodNone, true},
		{"no secret for basic", lab.Habits{RegisterSecret: &no}, lab.MethodBasic, lab.MethodBasic, false},
		{"list omitted", lab.Habits{OmitMethods: true}, lab.MethodPost, lab.MethodPost, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t, test.habits)
			document := map[string]any{}
			if test.request != "" {
				document["token_endpoint_auth_method"] = test.request
			}
			response := c.register(document)
			if response.status != http.StatusCreated || c.id == "" {
				t.Fatalf("%d %s", response.status, response.raw)
			}
			if c.method != test.method || (c.secret != "") != test.secret {
				t.Errorf("method %q, secret %v", c.method, c.secret != "")
			}
			if _, there := c.metadata()["token_endpoint_auth_methods_supported"]; there == test.habits.OmitMethods {
				t.Errorf("methods are listed: %v", there)
			}
		})
	}
}

// TestRegisterRejections sends registrations that must fail.
func TestRegisterRejections(t *testing.T) {
	c := start(t, lab.Habits{Methods: []string{lab.MethodBasic}})
	for _, test := range []struct {
		document map[string]any
		code     string
	}{
		{map[string]any{"token_endpoint_auth_method": lab.MethodNone}, "invalid_client_metadata"},
		{map[string]any{"redirect_uris": []string{}}, "invalid_redirect_uri"},
		{map[string]any{"redirect_uris": []string{"http://example.com/callback"}}, "invalid_redirect_uri"},
		{map[string]any{"redirect_uris": []string{"javascript:alert(1)"}}, "invalid_redirect_uri"},
		{map[string]any{"redirect_uris": "a string"}, "invalid_client_metadata"},
	} {
		c.register(test.document).is(t, http.StatusBadRequest, test.code)
	}
	none := start(t, lab.Habits{NoRegistration: true})
	if _, there := none.metadata()["registration_endpoint"]; there {
		t.Error("the metadata names a registration endpoint")
	}
	if response := none.register(nil); response.status != http.StatusNotFound {
		t.Errorf("registration without an endpoint: %d", response.status)
	}
}

// TestRegisterWithoutRedirects registers a client of a grant without a browser, which has no
// response types.
func TestRegisterWithoutRedirects(t *testing.T) {
	c := start(t, lab.Habits{Grants: []string{lab.GrantClientCredentials}})
	machine := map[string]any{"grant_types": []string{lab.GrantClientCredentials}, "redirect_uris": []string{}}
	c.register(machine).is(t, http.StatusBadRequest, "invalid_client_metadata")
	machine["response_types"] = []string{"code"}
	c.register(machine).is(t, http.StatusBadRequest, "invalid_client_metadata")
	machine["response_types"] = []string{}
	r := c.register(machine)
	if types, ok := r.document["response_types"].([]any); r.status != http.StatusCreated || !ok || len(types) != 0 {
		t.Fatalf("registered %s", r.raw)
	}
	c.do(c.tokenRequest(url.Values{"grant_type": {lab.GrantClientCredentials}})).is(t, http.StatusOK, "")
	machine["grant_types"] = []string{"authorization_code"}
	c.register(machine).is(t, http.StatusBadRequest, "invalid_redirect_uri")
}

// TestManage deletes a registration with its own token, and only with that.
func TestManage(t *testing.T) {
	c := start(t, lab.Habits{ManageClients: true})
	registration := c.register(map[string]any{"token_endpoint_auth_method": lab.MethodNone})
	uri, token := registration.text("registration_client_uri"), registration.text("registration_access_token")
	remove := func(token string) int {
		r := c.request(http.MethodDelete, uri, "")
		r.Header.Set("Authorization", "Bearer "+token)
		return c.do(r).status
	}
	if status := remove("x"); status != http.StatusUnauthorized {
		t.Errorf("with a wrong token: %d", status)
	}
	c.refresh(c.server.Issue(c.id, "", "").Refresh, nil).is(t, http.StatusOK, "")
	if status := remove(token); status != http.StatusNoContent {
		t.Errorf("with the token: %d", status)
	}
	c.refresh(c.server.Issue(c.id, "", "").Refresh, nil).is(t, http.StatusUnauthorized, "invalid_client")
	if got := c.server.Counts()["registration"]; got != 2 {
		t.Errorf("counted %d", got)
	}
}

// TestAlphabet uses an id and a secret that have to be encoded.
func TestAlphabet(t *testing.T) {
	c := start(t, lab.Habits{RegisterMethod: lab.MethodBasic, SecretAlphabet: "%+ :/&=é"})
	c.register(nil)
	token := c.login(nil).text("refresh_token")
	id, secret := c.id, c.secret
	for _, raw := range []string{id, secret} {
		if len(raw) < 8 || raw[len(raw)-9:] != "%+ :/&=é" {
			t.Fatalf("%q lacks the alphabet", raw)
		}
	}
	r := c.tokenRequest(nil)
	r.Header.Set("Authorization", basic(id, secret))
	c.do(r).is(t, http.StatusUnauthorized, "invalid_client")
	c.refresh(token, nil).is(t, http.StatusOK, "")
}

// TestForgetClients makes every client a stranger, configured ones too.
func TestForgetClients(t *testing.T) {
	c := start(t, lab.Habits{})
	token := c.login(nil).text("refresh_token")
	if n := len(c.server.Clients()); n != 1 {
		t.Fatalf("%d clients", n)
	}
	c.server.ForgetClients()
	if response := c.get(c.authorization(nil)); response.status != http.StatusBadRequest || response.header.Get("Location") != "" {
		t.Errorf("authorize: %d", response.status)
	}
	c.refresh(token, nil).is(t, http.StatusUnauthorized, "invalid_client")
}
