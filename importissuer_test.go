package handstamp_test

import (
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// A login from elsewhere that was made with the configured client is bound to the issuer of
// that one, although it does not say so itself.
func TestImportedConfiguredClientStaysWithItsIssuer(t *testing.T) {
	w, owner := newBound(t, lab.Habits{ResourceForm: lab.ResourceNone, OneOrigin: true})
	c, line := w.wired()
	c.Registration = &handstamp.Registration{Issuer: owner.Issuer(), ClientID: "app", ClientSecret: boundSecret}
	adopted, err := c.Adopt(t.Context(), w.lab.MCPURL(), handstamp.ForeignLogin{
		Registration:  handstamp.Registration{ClientID: "app", ClientSecret: store.Secret(boundSecret)},
		TokenResponse: tokenResponse("", "a-refresh-token"),
	}, handstamp.AdoptOptions{Force: true})
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
