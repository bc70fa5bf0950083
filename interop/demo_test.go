package interop

import (
	"errors"
	"testing"

	"github.com/handstamp/handstamp"
)

// TestNoRefreshToken has the provider of the TypeScript SDK's examples as it is.
// Its login is kept as long as it is good; when the server has been started again
// and knows neither token nor client, one tab and one registration mend it.
func TestNoRefreshToken(t *testing.T) {
	l := newLibrary(newScene(t, func(t *testing.T, resource string) *authServer {
		return mcpSDK(t, resource, "demo")
	}))
	l.mustCall("first session", handstamp.LoginAuto)
	l.wantTabs("first session", 1)
	if l.grant().RefreshToken != "" {
		t.Fatal("the provider issues refresh tokens: this test is about one that does not")
	}
	l.as.reset()
	l.mustCall("second session", handstamp.LoginNever)
	l.want("second session", "", 0)

	l.as.forgetClients()
	if err := l.call(l.session(handstamp.LoginNever)); !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("forgotten token: %v, want ErrLoginRequired", err)
	}
	l.as.reset()
	l.mustCall("forgotten token", handstamp.LoginAuto)
	l.wantTabs("forgotten token", 1)
	l.wantRegistered("forgotten token")

	result, err := l.session(handstamp.LoginNever).Logout(t.Context(), l.mcp, handstamp.LogoutOptions{})
	if err != nil || !result.WasSignedIn || result.Revoked || result.RevokeError == nil {
		t.Errorf("logout where nothing can be revoked: %+v, %v", result, err)
	}
}
