package handstamp_test

import (
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A login from elsewhere that was made with the configured client is bound to the issuer of
// that one, although it does not say so itself.
func TestImportedConfiguredClientStaysWithItsIssuer(t *testing.T) {
	w, owner := newBound(t, lab.Habits{ResourceForm: lab.ResourceNone, OneOrigin: true})
	c, line := w.Recorded()
	c.Registration = &handstamp.Registration{Issuer: owner.Issuer(), ClientID: "app", ClientSecret: boundSecret}
	imported, err := c.Import(t.Context(), w.Lab.MCPURL(), handstamp.ImportedLogin{
		Registration:  handstamp.Registration{ClientID: "app", ClientSecret: boundSecret},
		TokenResponse: tokenResponse("", "a-refresh-token"),
	}, handstamp.ImportOptions{Force: true})
	if err == nil && imported.Status.Issuer != owner.Issuer() {
		t.Errorf("imported for %s", imported.Status.Issuer)
	}
	_, _ = c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
	for _, r := range line.Requests(0) {
		if strings.Contains(r.Raw, boundSecret) && !strings.HasSuffix(owner.URL(), r.Host) {
			t.Errorf("the secret was sent to %s%s", r.Host, r.Path)
		}
	}
}

// A client that is configured with another issuer than the stored login was made at is sent there
// no more: neither to refresh nor to revoke that login.
func TestStoredLoginOfAnotherIssuerGetsNoConfiguredSecret(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: boundSecret, Method: lab.MethodPost})
	c, _ := w.Recorded()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost}
	w.MustLogin(c)
	w.Expire()
	d, line := w.Recorded()
	d.LoginPolicy = handstamp.LoginNever
	d.Registration = &handstamp.Registration{Issuer: "https://as.example", ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost}
	_, err := d.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
	testenv.WantKind(t, err, handstamp.ErrLoginRequired)
	if err == nil || !strings.Contains(err.Error(), "https://as.example") || !strings.Contains(err.Error(), w.Lab.Issuer()) {
		t.Errorf("the error does not name both issuers: %v", err)
	}
	result, err := d.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
	if err != nil || result.Revoked || result.RevokeError == nil {
		t.Errorf("logout: %+v, %v", result, err)
	}
	for _, r := range line.Requests(0) {
		if strings.Contains(r.Raw, boundSecret) {
			t.Errorf("the secret was sent to %s%s", r.Host, r.Path)
		}
	}
}
