package lab_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// manage sends a request to a registration's own URL.
func (c *hand) manage(method, uri, token string, document map[string]any) reply {
	c.t.Helper()
	body := ""
	if document != nil {
		body = text(c.t, document)
	}
	r := c.request(method, uri, body)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	return c.do(r)
}

// TestManageUpdate reads a registration, adds a redirect URI to it, and replaces its secret.
func TestManageUpdate(t *testing.T) {
	c := start(t, lab.Habits{
		ManageClients: true, RegisterMethod: lab.MethodPost, SecretLifetime: time.Hour,
		Registrations: lab.Registrations{RotateToken: true, ReplaceSecret: true},
	})
	first := c.register(map[string]any{"client_name": "a client"})
	uri, token := first.text("registration_client_uri"), first.text("registration_access_token")
	read := c.manage(http.MethodGet, uri, token, nil)
	read.is(t, 200, "")
	if read.text("client_id") != c.id || read.text("client_secret") != c.secret || read.text("client_name") != "a client" ||
		read.document["client_secret_expires_at"] != first.document["client_secret_expires_at"] || read.text("registration_client_uri") != uri {
		t.Errorf("read %s", read.raw)
	}
	c.manage(http.MethodGet, uri, token, nil).is(t, 401, "invalid_token") // it is rotated
	token = read.text("registration_access_token")

	c.server.Advance(2 * time.Hour)
	refresh := c.server.Issue(c.id, "", "").Refresh
	c.refresh(refresh, nil).is(t, 401, "invalid_client")
	other := "http://127.0.0.1:7777/other"
	update := map[string]any{
		"client_id": c.id, "client_secret": c.secret, "redirect_uris": []string{redirectURI, other},
		"grant_types": []string{"authorization_code", "refresh_token"},
	}
	for name, value := range map[string]any{
		"client_id": "x", "client_secret": "x", "redirect_uris": []string{}, "registration_access_token": token,
		"registration_client_uri": uri, "client_secret_expires_at": 0, "client_id_issued_at": 0,
	} {
		wrong := map[string]any{}
		for name, value := range update {
			wrong[name] = value
		}
		wrong[name] = value
		if r := c.manage(http.MethodPut, uri, token, wrong); r.status != 400 {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	c.manage(http.MethodPut, uri, "x", update).is(t, 401, "invalid_token")
	c.manage(http.MethodPost, uri, token, update).is(t, 405, "invalid_request")
	updated := c.manage(http.MethodPut, uri, token, update)
	updated.is(t, 200, "")
	if updated.text("client_secret") == c.secret || updated.text("registration_access_token") == token || updated.text("client_name") != "" {
		t.Errorf("updated %s", updated.raw)
	}
	if ends := updated.document["client_secret_expires_at"].(float64); ends < float64(time.Now().Add(150*time.Minute).Unix()) {
		t.Errorf("the new secret ends at %v", ends)
	}
	requests := c.server.Requests()
	if last := requests[len(requests)-1]; !strings.Contains(last.RegistrationBody, other) || strings.Contains(last.RegistrationBody, c.secret) {
		t.Errorf("logged %s", last.RegistrationBody)
	}
	c.refresh(refresh, nil).is(t, 401, "invalid_client")
	c.secret = updated.text("client_secret")
	c.refresh(refresh, nil).is(t, 200, "")
	if got := c.authorize(map[string][]string{"redirect_uri": {other}}).Get("code"); got == "" {
		t.Error("the new redirect URI does not work")
	}
	if r := c.manage(http.MethodDelete, uri, updated.text("registration_access_token"), nil); r.status != 204 {
		t.Errorf("deleted: %d", r.status)
	}
}

// TestManageKeeps keeps token and secret where no habit replaces them.
func TestManageKeeps(t *testing.T) {
	c := start(t, lab.Habits{ManageClients: true, RegisterMethod: lab.MethodPost, SecretLifetime: time.Hour})
	r := c.register(nil)
	update := map[string]any{"client_id": c.id, "redirect_uris": []string{redirectURI}}
	for range 2 {
		got := c.manage(http.MethodPut, r.text("registration_client_uri"), r.text("registration_access_token"), update)
		if got.status != 200 || got.text("client_secret") != c.secret || got.text("registration_access_token") != r.text("registration_access_token") {
			t.Errorf("updated %s", got.raw)
		}
	}
}

// TestInitialToken registers only clients with the initial access token.
func TestInitialToken(t *testing.T) {
	c := start(t, lab.Habits{Registrations: lab.Registrations{InitialToken: "let-me-in"}})
	if r := c.register(nil); r.status != 401 || r.text("error") != "invalid_token" || !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("without: %d %s", r.status, r.raw)
	}
	document := map[string]any{"redirect_uris": []string{redirectURI}}
	c.manage(http.MethodPost, c.endpoint("/register"), "x", document).is(t, 401, "invalid_token")
	c.manage(http.MethodPost, c.endpoint("/register"), "let-me-in", document).is(t, 201, "")
	if got := c.server.Requests()[2].Header.Get("Authorization"); strings.Contains(got, "let-me-in") {
		t.Error("the token is in the log")
	}
}

// TestSoftwareStatement registers only software that someone trusted vouches for.
func TestSoftwareStatement(t *testing.T) {
	c := start(t, lab.Habits{Registrations: lab.Registrations{Statement: true}})
	mine := newKey(t, "ES256")
	c.server.TrustIssuer("https://vouches.test", jwks(t, mine))
	sign := func(k key, claims map[string]any) map[string]any {
		return map[string]any{"software_statement": k.sign(t, nil, claims)}
	}
	good := map[string]any{"iss": "https://vouches.test", "software_id": "s"}
	c.register(nil).is(t, 400, "invalid_software_statement")
	c.register(map[string]any{"software_statement": "x"}).is(t, 400, "invalid_software_statement")
	c.register(sign(newKey(t, "ES256"), good)).is(t, 400, "invalid_software_statement")
	c.register(sign(mine, map[string]any{"iss": "https://x.test"})).is(t, 400, "unapproved_software_statement")
	c.register(sign(mine, map[string]any{"iss": "https://vouches.test", "exp": 1})).is(t, 400, "invalid_software_statement")
	if r := c.register(sign(mine, good)); r.status != 201 || r.text("software_statement") == "" {
		t.Errorf("registered %s", r.raw)
	}
}
