//go:build unix

package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// A client that an operator has registered with a secret is named at the login alone: the service
// refreshes with the secret that is kept with it.
func TestServiceRefreshesWithAClientSecret(t *testing.T) {
	c, _ := newDatabase(t, lab.NoneFirst())
	c.server.RegisterClient(lab.ConfiguredClient{
		ID: "by-hand", Secret: "battery-staple", Method: "client_secret_post",
	})
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("battery-staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("login", c.server.MCPURL(), "--tenant", "acme", "--user", "ada",
		"--client-id", "by-hand", "--client-secret-file", file)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s := c.loopback()
	defer s.end()
	first := s.want(s.token(http.DefaultClient, s.key, "ada"), 200, "").Token
	c.server.ExpireAccessTokens()
	second := s.want(s.token(http.DefaultClient, s.key, "ada", "refresh", "true"), 200, "").Token
	if second == first {
		t.Error("the token was not refreshed")
	}
	if a := c.server.Audit(); a.Refreshes != 1 {
		t.Errorf("%d refreshes, want 1", a.Refreshes)
	}
}
