package handstamp_test

import (
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// A login from elsewhere that was made with the configured client is bound to the issuer of
// that one, although it does not say so itself.
func TestImportedConfiguredClientStaysWithItsIssuer(t *testing.T) {
	w, owner := newBound(t, lab.Habits{ResourceForm: lab.ResourceNone, OneOrigin: true})
	c, line := w.wired()
	c.Registration = &handstamp.Registration{Issuer: owner.Issuer(), ClientID: "app", ClientSecret: boundSecret}
	adopted, err := c.Import(t.Context(), w.lab.MCPURL(), handstamp.ImportedLogin{
		Registration:  handstamp.Registration{ClientID: "app", ClientSecret: secret.String(boundSecret)},
		TokenResponse: tokenResponse("", "a-refresh-token"),
	}, handstamp.ImportOptions{Force: true})
	if err == nil && adopted.Status.Issuer != owner.Issuer() {
		t.Errorf("adopted for %s", adopted.Status.Issuer)
	}
	_, _ = c.Token(t.Context(), w.lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
	for _, r := range line.requests(0) {
		if strings.Contains(string(r.raw), boundSecret) && !strings.HasSuffix(owner.URL(), r.host) {
			t.Errorf("the secret was sent to %s%s", r.host, r.path)
		}
	}
}

// A client that is configured with another issuer than the stored login was made at is sent there
// no more: neither to refresh nor to revoke that login.
func TestStoredLoginOfAnotherIssuerGetsNoConfiguredSecret(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: boundSecret, Method: lab.MethodPost})
	c, _ := w.wired()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost}
	w.mustLogin(c)
	w.expire()
	d, line := w.wired()
	d.LoginPolicy = handstamp.LoginNever
	d.Registration = &handstamp.Registration{Issuer: "https://as.example", ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost}
	_, err := d.Token(t.Context(), w.lab.MCPURL(), handstamp.TokenOptions{})
	wantKind(t, err, handstamp.ErrLoginRequired)
	if err == nil || !strings.Contains(err.Error(), "https://as.example") || !strings.Contains(err.Error(), w.lab.Issuer()) {
		t.Errorf("the error does not name both issuers: %v", err)
	}
	result, err := d.Logout(t.Context(), w.lab.MCPURL(), handstamp.LogoutOptions{})
	if err != nil || result.Revoked || result.RevokeError == nil {
		t.Errorf("logout: %+v, %v", result, err)
	}
	for _, r := range line.requests(0) {
		if strings.Contains(r.raw, boundSecret) {
			t.Errorf("the secret was sent to %s%s", r.host, r.path)
		}
	}
}
