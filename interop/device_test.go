package interop

import (
	"maps"
	"net/http"
	"net/url"
	"testing"

	"github.com/handstamp/handstamp/internal/proctest"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// device starts a device flow (RFC 8628) and returns its response and the request with
// which to poll.
func (r *rawServer) device(more url.Values) (started response, poll url.Values) {
	r.t.Helper()
	form := url.Values{"scope": {"openid offline_access tools"}, "resource": {r.mcp}}
	maps.Copy(form, more)
	started = r.post(r.endpoint("device_authorization_endpoint"), form, nil).must(r.t, "device", http.StatusOK)
	poll = url.Values{"grant_type": {deviceGrant}, "device_code": {started.text("device_code")}, "resource": {r.mcp}}
	maps.Copy(poll, more)
	return started, poll
}

// approve lets the user type the code of a device, or follow the link that has it.
func (r *rawServer) approve(a account, started response, link bool) {
	r.t.Helper()
	a.code = started.text("user_code")
	page := started.text("verification_uri")
	if link {
		page = started.text("verification_uri_complete")
	}
	if err := a.browse(r.t.Context(), page); err != nil {
		r.t.Fatal(err)
	}
}

// TestDeviceFlow is oidc-provider's.
func TestDeviceFlow(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{})
	client := r.register("none", deviceGrant, map[string]any{
		"grant_types": []string{deviceGrant, "refresh_token"}, "scope": "openid offline_access tools"}).text("client_id")
	token := r.endpoint("token_endpoint")
	for _, link := range []bool{false, true} {
		started, poll := r.device(url.Values{"client_id": {client}, "prompt": {"consent"}})
		if _, ok := started.body["interval"]; ok {
			t.Error("there is an interval: this server used to have none")
		}
		poll.Del("prompt")
		for range 2 {
			r.post(token, poll, nil).want(t, "before the user", 400, "authorization_pending")
		}
		r.approve(r.user(), started, link)
		granted := r.post(token, poll, nil).must(t, "after the user", http.StatusOK)
		r.call(map[string]string{"Authorization": "Bearer " + granted.text("access_token")}).
			must(t, "MCP server", http.StatusOK)
		if granted.text("refresh_token") == "" {
			t.Error("there is no refresh token")
		}
		r.post(token, poll, nil).want(t, "once more", 400, "invalid_grant")
	}
	_, poll := r.device(url.Values{"client_id": {client}})
	poll.Set("device_code", "another")
	r.post(token, poll, nil).want(t, "another code", 400, "invalid_grant")
}

// TestDeviceFlowEnds is a user who says no, and one who is too late.
func TestDeviceFlowEnds(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{DeviceSeconds: 1})
	client := r.register("none", deviceGrant, nil).text("client_id")
	token := r.endpoint("token_endpoint")

	_, poll := r.device(url.Values{"client_id": {client}, "scope": {"tools"}})
	var got string
	if !proctest.Holds(timeout, func() bool {
		got = r.post(token, poll, nil).code()
		return got == "expired_token"
	}) {
		t.Errorf("too late: %q, want expired_token", got)
	}

	r.program.order("device-lifetime 60")
	started, poll := r.device(url.Values{"client_id": {client}, "scope": {"tools"}})
	a := r.user()
	a.declines = "abort"
	a.code = started.text("user_code")
	if err := a.browse(t.Context(), started.text("verification_uri_complete")); err != nil {
		t.Fatal(err)
	}
	r.post(token, poll, nil).want(t, "the user says no", 400, "access_denied")
}

// TestDeviceFlowWithKeys binds its tokens to a key, and authenticates with another.
func TestDeviceFlowWithKeys(t *testing.T) {
	t.Parallel()
	r := startFull(t, setup{DPoP: "required", Nonces: true})
	key, proof := newSigner(t, "EdDSA"), newSigner(t, "ES256")
	client := r.register("private_key_jwt", deviceGrant,
		map[string]any{"jwks": key.jwks(), "dpop_bound_access_tokens": true}).text("client_id")
	token := r.endpoint("token_endpoint")
	assert := func() url.Values { return asserting(key.assertion(client, r.issuer, nil)) }
	started, poll := r.device(merge(assert(), url.Values{"scope": {"tools"}}))
	poll.Del("scope")
	first := r.post(token, merge(poll, assert()), proving(proof.proof("POST", token, nil)))
	first.want(t, "no nonce", 400, "use_dpop_nonce")
	send := func() response {
		return r.post(token, merge(poll, assert()), proving(proof.proof("POST", token, nonce(first))))
	}
	send().want(t, "before the user", 400, "authorization_pending")
	r.approve(r.user(), started, true)
	granted := send().must(t, "after the user", http.StatusOK)
	if got := claims(t, granted.text("access_token")).Cnf["jkt"]; got != proof.thumbprint() {
		t.Errorf("the token is bound to %q", got)
	}
}

// merge returns both, the second of which prevails.
func merge(a, b url.Values) url.Values {
	m := maps.Clone(a)
	maps.Copy(m, b)
	return m
}
