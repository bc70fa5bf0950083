package handstamp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// A server may repeat what it knows of a login from another request: the client's secret in an
// error of the callback, the access token where a refresh token was sent. Nothing shows it.
func TestSecretsOfOtherRequestsAreNotShown(t *testing.T) {
	w := newWorld(t, lab.Habits{Methods: []string{lab.MethodBasic, lab.MethodPost}})
	c, _ := w.wired()
	w.mustLogin(c)
	rec := w.record()
	secrets := []string{rec.Grant.AccessToken.Reveal(), rec.Grant.RefreshToken.Reveal(), rec.Clients[0].Secret.Reveal()}
	for _, secret := range secrets {
		if secret == "" {
			t.Fatalf("not all secrets are there: %q", secrets)
		}
	}
	all := strings.Join(secrets, " ")
	l := &listener{t: t}
	d, line := w.wired()
	l.listenTo(d)
	line.onAnswer(func(req *http.Request, resp *http.Response) {
		if strings.HasPrefix(req.URL.Path, atToken) || strings.HasPrefix(req.URL.Path, atRevoke) {
			resp.StatusCode = http.StatusBadRequest
			body, _ := json.Marshal(map[string]string{"error": "invalid_grant", "error_description": "not " + all})
			setBody(resp, body)
		}
	})

	// The authorization endpoint, with state and without.
	for _, bound := range []bool{true, false} {
		d.Prompt = handstamp.Prompt{Authorize: func(_ context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
			u, _ := url.Parse(r.URL)
			params := url.Values{"error": {"access_denied"}, "error_description": {"not " + all}, "iss": {w.lab.Issuer()}}
			if bound {
				params.Set("state", u.Query().Get("state"))
			} else {
				params = url.Values{"error": {secrets[0]}}
			}
			return params, nil
		}}
		err := w.login(d)
		if err == nil {
			t.Error("the login worked")
		}
		l.hearError(err)
	}

	// The token endpoint and the revocation endpoint.
	_, err := d.Token(t.Context(), w.lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
	l.hearError(err)
	l.hearStatus(d, w.lab.MCPURL())
	status, err := d.Status(t.Context(), w.lab.MCPURL())
	if err != nil || status.GrantError == nil {
		t.Fatalf("status %+v, %v", status, err)
	}
	text, _ := json.Marshal(status)
	l.hear(string(text))
	result, err := d.Logout(t.Context(), w.lab.MCPURL(), handstamp.LogoutOptions{})
	l.hearError(err)
	if err == nil {
		l.hearError(result.RevokeError)
	}
	for _, text := range l.texts {
		for _, secret := range secrets {
			if strings.Contains(text, secret[len(secret)-12:]) {
				t.Errorf("%q shows %q", text, secret)
			}
		}
	}
}

// The error about a redirect names where it leads, but for a secret that the server has put
// there: the token, or what the caller has sent.
func TestRedirectToASecretIsNotShown(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	c, _ := w.wired()
	w.mustLogin(c)
	token := w.record().Grant.AccessToken.Reveal()
	for _, secret := range []string{token, "a-key-of-the-caller", "of-the-caller"} {
		d, line := w.wired()
		line.onAnswer(func(req *http.Request, resp *http.Response) {
			if strings.HasPrefix(req.URL.Path, atMCP) {
				resp.StatusCode = http.StatusTemporaryRedirect
				resp.Header.Set("Location", "https://"+strings.ToLower(secret)+".example/mcp")
			}
		})
		req := secretRequest(t, w.lab.MCPURL())
		if secret == token {
			req.Header.Del("Authorization")
		}
		_, err := d.HTTPClient(w.lab.MCPURL()).Do(req)
		wantKind(t, err, handstamp.ErrProtocol)
		if err == nil || strings.Contains(err.Error(), strings.ToLower(secret)) || strings.Contains(err.Error(), ".example") {
			t.Errorf("error %v", err)
		}
	}
}
