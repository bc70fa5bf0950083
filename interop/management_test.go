package interop

import (
	"errors"
	"maps"
	"net/http"
	"testing"

	"github.com/handstamp/handstamp"
)

// TestClientManagement reads, updates and deletes a client (RFC 7592) that an initial
// access token let in (RFC 7591, section 3).
func TestClientManagement(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{Initial: "let-me-in"})
	document := map[string]any{"redirect_uris": []string{redirectURI}, "application_type": "native",
		"token_endpoint_auth_method": "client_secret_basic"}
	endpoint := r.endpoint("registration_endpoint")
	r.json(http.MethodPost, endpoint, document, nil).want(t, "no token", 401, "invalid_token")
	r.json(http.MethodPost, endpoint, document, bearer("another")).want(t, "another token", 401, "invalid_token")
	created := r.json(http.MethodPost, endpoint, document, bearer("let-me-in")).must(t, "create", http.StatusCreated)

	uri, token := created.text("registration_client_uri"), created.text("registration_access_token")
	r.do(http.MethodGet, uri, "", "", bearer("another")).want(t, "read, another token", 401, "invalid_token")
	read := r.do(http.MethodGet, uri, "", "", bearer(token)).must(t, "read", http.StatusOK)
	if read.text("client_secret") != created.text("client_secret") {
		t.Error("the client reads as another")
	}

	// What the client got is not what it may send (RFC 7592, section 2.2).
	r.json(http.MethodPut, uri, read.body, bearer(token)).want(t, "update with all", 400, "invalid_request")
	body := maps.Clone(read.body)
	for _, name := range []string{"registration_access_token", "registration_client_uri",
		"client_secret_expires_at", "client_id_issued_at"} {
		delete(body, name)
	}
	body["redirect_uris"] = []string{redirectURI, "http://127.0.0.1/other"}
	updated := r.json(http.MethodPut, uri, body, bearer(token)).must(t, "update", http.StatusOK)
	if uris, _ := updated.body["redirect_uris"].([]any); len(uris) != 2 {
		t.Errorf("update: redirect URIs %v", updated.body["redirect_uris"])
	}
	next := updated.text("registration_access_token")
	if next == token {
		t.Error("update: the registration access token is the old one")
	}
	r.do(http.MethodGet, uri, "", "", bearer(token)).want(t, "read, the old token", 401, "invalid_token")
	without := maps.Clone(body)
	delete(without, "client_id")
	r.json(http.MethodPut, uri, without, bearer(next)).want(t, "update without client_id", 400, "invalid_request")
	r.do(http.MethodDelete, uri, "", "", bearer(next)).must(t, "delete", http.StatusNoContent)
	r.do(http.MethodGet, uri, "", "", bearer(next)).want(t, "read after that", 401, "invalid_token")
}

func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

// TestClientManagementThroughTheLibrary has a client that an initial access token let in, and that
// comes back to another redirect URI: its registration has both after that, and is gone after the
// logout.
func TestClientManagementThroughTheLibrary(t *testing.T) {
	t.Parallel()
	l := newLibrary(newScene(t, func(t *testing.T, _ string) *authServer {
		as, _ := full(t, setup{Initial: "let-me-in"})
		return as
	}))
	if err := l.call(l.session(handstamp.LoginAuto)); !errors.Is(err, handstamp.ErrRegistrationRequired) {
		t.Errorf("without the initial access token: %v, want ErrRegistrationRequired", err)
	}
	first := l.session(handstamp.LoginAuto)
	first.InitialAccessToken = "let-me-in"
	if err := l.call(first); err != nil {
		t.Fatal(err)
	}
	registered := l.record().GrantClient()

	second := l.session(handstamp.LoginAuto) // which could not register
	second.RedirectURI = "http://127.0.0.1/other"
	if _, err := second.Login(t.Context(), l.mcp, handstamp.LoginOptions{Force: true}); err != nil {
		t.Fatalf("with another redirect URI: %v; requests: %s", err, l.as.all())
	}
	updated := l.record().GrantClient()
	if updated.ID != registered.ID || len(updated.RedirectURIs) != 2 || updated.RedirectURIs[0] != registered.RedirectURIs[0] {
		t.Errorf("the client is %s with %q, was %s with %q", updated.ID, updated.RedirectURIs, registered.ID, registered.RedirectURIs)
	}
	if updated.RegistrationAccessToken == registered.RegistrationAccessToken {
		t.Error("the new registration access token was not kept")
	}
	l.refresh()
	result, err := l.session(handstamp.LoginNever).Logout(t.Context(), l.mcp, handstamp.LogoutOptions{DeleteClient: true})
	if err != nil || !result.ClientDeleted {
		t.Errorf("logout: %+v, %v", result, err)
	}
}
