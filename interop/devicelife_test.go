package interop

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
)

// byDevice has the user sign in on another device.
func byDevice(c *handstamp.Client) { c.Grant = handstamp.DeviceCode{} }

// TestDeviceFlowThroughTheLibrary lives the life of a login for which the user types a code.
func TestDeviceFlowThroughTheLibrary(t *testing.T) {
	for name, s := range map[string]setup{"bearer": {}, "DPoP and nonces": {DPoP: "required", Nonces: true}} {
		t.Run("oidc-provider, "+name, func(t *testing.T) {
			t.Parallel()
			newLibrary(newScene(t, func(t *testing.T, _ string) *authServer {
				as, _ := full(t, s)
				as.configure = byDevice
				if s.Nonces {
					as.extra = 1
				}
				return as
			})).live()
		})
	}
	t.Run("zitadel/oidc", func(t *testing.T) {
		t.Parallel()
		newLibrary(newScene(t, func(t *testing.T, _ string) *authServer {
			s, connect := newAuthServer(t)
			handler, z := zitadelWithKeys(s.issuer, signer{})
			behind := httptest.NewServer(handler)
			t.Cleanup(behind.Close)
			connect(behind.URL)
			s.scopes, s.token, s.method = []string{"openid"}, "/oauth/token", "none"
			s.username, s.password = "test-user@127.0.0.1", "verysecure"
			s.registration = &handstamp.Registration{ClientID: "public", TokenEndpointAuthMethod: s.method}
			s.verify = userinfo(behind.URL + "/userinfo")
			s.lifetime = func(d time.Duration) { z.set(func() { z.lifetime = d }) }
			s.configure = byDevice
			return s
		})).live()
	})
}
