package lab_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// deviceServer has a clock that stands still: which polls are early is no matter of this machine.
func deviceServer(t *testing.T, d lab.Device) *hand {
	t.Helper()
	c := start(t, lab.Habits{Grants: []string{lab.GrantDeviceCode}, Device: d, ScopesSupported: []string{"read"}})
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	c.server.SetClock(func() time.Time { return noon })
	return c
}

// device begins a device authorization.
func (c *hand) device(changes url.Values) reply {
	c.t.Helper()
	form := url.Values{"client_id": {c.id}, "scope": {"read"}, "resource": {c.server.ResourceURL()}}
	change(form, changes)
	return c.form(c.endpoint("/device_authorization"), form)
}

func (c *hand) poll(code string) reply {
	c.t.Helper()
	return c.do(c.tokenRequest(url.Values{"grant_type": {lab.GrantDeviceCode}, "device_code": {code}}))
}

// TestDevice waits until the user has entered the code on another device.
func TestDevice(t *testing.T) {
	c := deviceServer(t, lab.Device{})
	if c.metadata()["device_authorization_endpoint"] != c.endpoint("/device_authorization") {
		t.Error("the endpoint is not listed")
	}
	r := c.device(nil)
	r.is(t, 200, "")
	user, code := r.text("user_code"), r.text("device_code")
	if r.document["interval"] != nil || r.document["expires_in"] != 600.0 || r.text("verification_uri") != c.endpoint("/device") ||
		!strings.HasSuffix(r.text("verification_uri_complete"), "?user_code="+user) {
		t.Errorf("%s", r.raw)
	}
	c.poll(code).is(t, 400, "authorization_pending")
	c.poll("x").is(t, 400, "invalid_grant")
	if r := c.get(r.text("verification_uri")); r.status != 200 || strings.Contains(r.raw, `<form method="post"`) {
		t.Errorf("the page without a code: %d", r.status)
	}
	if _, err := lab.BrowseWith(context.Background(), c.http, r.text("verification_uri_complete")); err != nil {
		t.Fatal(err)
	}
	token := c.poll(code)
	token.is(t, 200, "")
	if !c.works(token.text("access_token")) || token.text("scope") != "read" {
		t.Errorf("%s", token.raw)
	}
	c.refresh(token.text("refresh_token"), nil).is(t, 200, "")
	c.poll(code).is(t, 400, "invalid_grant")
	if n := c.server.Counts()["token:device"]; n != 4 {
		t.Errorf("%d polls", n)
	}
	// A poll at once after the first one is early, which is counted only.
	if n := c.server.Audit().EarlyPolls; n != 1 {
		t.Errorf("%d early polls", n)
	}
}

// TestDeviceDecisions denies, lets codes expire, and rejects codes that no device waits with.
func TestDeviceDecisions(t *testing.T) {
	c := deviceServer(t, lab.Device{OmitComplete: true, Interval: 1, Lifetime: 30})
	r := c.device(nil)
	if r.document["verification_uri_complete"] != nil || r.document["interval"] != 1.0 || r.document["expires_in"] != 30.0 {
		t.Errorf("%s", r.raw)
	}
	if err := c.server.DenyDevice(strings.ToLower(strings.ReplaceAll(r.text("user_code"), "-", ""))); err != nil {
		t.Error(err)
	}
	c.poll(r.text("device_code")).is(t, 400, "access_denied")
	if c.server.ApproveDevice(r.text("user_code")) == nil || c.server.ApproveDevice("x") == nil {
		t.Error("approved what does not wait")
	}
	r = c.device(nil)
	if codes := c.server.DeviceCodes(); len(codes) != 1 || codes[0] != r.text("user_code") {
		t.Errorf("%v wait", codes)
	}
	c.server.Advance(30 * time.Second)
	c.poll(r.text("device_code")).is(t, 400, "expired_token")
	if c.server.ApproveDevice(r.text("user_code")) == nil || c.get(c.endpoint("/device")+"?user_code="+r.text("user_code")).status != 400 {
		t.Error("an expired code works")
	}
	c.device(url.Values{"client_id": {"other"}}).is(t, 401, "invalid_client")
	c.device(url.Values{"scope": {"write"}}).is(t, 400, "invalid_scope")
	c.device(url.Values{"resource": {"https://x.test"}}).is(t, 400, "invalid_target")
	c.server.RegisterClient(lab.ConfiguredClient{ID: "web", GrantTypes: []string{"authorization_code"}})
	c.device(url.Values{"client_id": {"web"}}).is(t, 400, "unauthorized_client")
	plain := start(t, lab.Habits{})
	if r := plain.post(plain.endpoint("/device_authorization")); r.status != 404 {
		t.Errorf("without the grant: %d", r.status)
	}
}

// TestDeviceSlowDown tells a device to poll less often.
func TestDeviceSlowDown(t *testing.T) {
	c := deviceServer(t, lab.Device{Interval: 2, SlowDown: 2, EnforceInterval: true})
	code := c.device(nil).text("device_code")
	c.poll(code).is(t, 400, "authorization_pending")
	c.server.Advance(2 * time.Second)
	c.poll(code).is(t, 400, "slow_down") // the second, though it is not early
	c.server.Advance(2 * time.Second)
	c.poll(code).is(t, 400, "slow_down") // the interval is 7 seconds now, then 12
	c.server.Advance(12 * time.Second)
	c.poll(code).is(t, 400, "authorization_pending")
	if n := c.server.Audit().EarlyPolls; n != 1 {
		t.Errorf("%d early polls", n)
	}
}

// TestDeviceWithKeys authenticates the device by its key and binds its tokens to another.
func TestDeviceWithKeys(t *testing.T) {
	c := start(t, lab.Habits{Grants: []string{lab.GrantDeviceCode}, DPoP: lab.DPoP{Supported: true}})
	signs, mine := newKey(t, "EdDSA"), newKey(t, "ES256")
	c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, JWKS: jwks(t, signs)})
	c.device(nil).is(t, 401, "invalid_client")
	r := c.form(c.endpoint("/device_authorization"), asserted(nil, signs.sign(t, nil, c.claims(nil))))
	r.is(t, 200, "")
	if err := c.server.ApproveDevice(r.text("user_code")); err != nil {
		t.Fatal(err)
	}
	form := url.Values{"grant_type": {lab.GrantDeviceCode}, "device_code": {r.text("device_code")}}
	request := c.request("POST", c.endpoint("/token"), asserted(form, signs.sign(t, nil, c.claims(nil))).Encode())
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("DPoP", mine.proof(t, "POST", c.endpoint("/token"), nil))
	if r := c.do(request); r.text("token_type") != "DPoP" {
		t.Errorf("%s", r.raw)
	}
}
