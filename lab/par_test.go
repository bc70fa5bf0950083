package lab_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// pushForm is an authorization request to push, with parameters changed.
func (c *hand) pushForm(changes url.Values) url.Values {
	c.t.Helper()
	u, err := url.Parse(c.authorization(changes))
	if err != nil {
		c.t.Fatal(err)
	}
	return u.Query()
}

// pushed is the authorization URL of a pushed request.
func (c *hand) pushed(handle string) string {
	return c.endpoint("/authorize") + "?" + url.Values{"client_id": {c.id}, "request_uri": {handle}}.Encode()
}

// TestPAR pushes a request, once offered and once required, and uses it once.
func TestPAR(t *testing.T) {
	for _, habit := range []string{lab.PAROffered, lab.PARRequired} {
		c := start(t, lab.Habits{PAR: habit, ScopesSupported: []string{"read"}})
		metadata := c.metadata()
		if metadata["pushed_authorization_request_endpoint"] != c.endpoint("/par") || metadata["require_pushed_authorization_requests"] != (habit == lab.PARRequired) {
			t.Errorf("lists %v", metadata)
		}
		if got := c.authorize(nil).Get("error"); (got == "invalid_request") != (habit == lab.PARRequired) {
			t.Errorf("%s: not pushed: %q", habit, got)
		}
		r := c.form(c.endpoint("/par"), c.pushForm(url.Values{"login_hint": {"ana"}, "acr_values": {"gold"}, "max_age": {"9"}, "prompt": {"login"}}))
		if r.status != 201 || r.document["expires_in"] != 60.0 {
			t.Fatalf("pushed: %d %s", r.status, r.raw)
		}
		requests := c.server.Requests()
		if last := requests[len(requests)-1]; last.Endpoint != "par" || last.Params.Get("acr_values") != "gold" || last.Params.Get("max_age") != "9" ||
			last.Params.Get("login_hint") != "ana" || last.Params.Get("prompt") != "login" || last.ClientID != c.id {
			t.Errorf("noted as %+v", last)
		}
		target := c.pushed(r.text("request_uri"))
		look := c.request("GET", target, "")
		look.Header.Set("Sec-Purpose", "prefetch")
		c.do(look).is(t, 200, "")
		back, err := url.Parse(c.get(target).header.Get("Location"))
		if err != nil || back.Query().Get("code") == "" || back.Query().Get("state") != "a state" {
			t.Fatalf("came back to %v", back)
		}
		c.do(c.tokenRequest(c.codeForm(back.Query().Get("code"), nil))).is(t, 200, "")
		if r := c.get(target); r.status != 400 {
			t.Errorf("used twice: %d", r.status)
		}
		for name, changes := range map[string]url.Values{
			"invalid_request":           {"code_challenge": {""}},
			"invalid_target":            {"resource": {"https://x.test"}},
			"unsupported_response_type": {"response_type": {"token"}},
			"invalid_scope":             {"scope": {"write"}},
		} {
			c.form(c.endpoint("/par"), c.pushForm(changes)).is(t, 400, name)
		}
		c.form(c.endpoint("/par"), c.pushForm(url.Values{"redirect_uri": {"http://127.0.0.1:1/other"}})).is(t, 400, "invalid_request")
		c.form(c.endpoint("/par"), c.pushForm(url.Values{"request_uri": {"urn:x"}})).is(t, 400, "invalid_request")
		c.form(c.endpoint("/par"), c.pushForm(url.Values{"client_id": {"other"}})).is(t, 401, "invalid_client")
		if r := c.get(c.endpoint("/par")); r.status != 405 {
			t.Errorf("GET: %d", r.status)
		}
		handle := c.form(c.endpoint("/par"), c.pushForm(nil)).text("request_uri")
		if r := c.get(strings.Replace(c.pushed(handle), "client_id=ana", "client_id=other", 1)); r.status != 400 {
			t.Errorf("by another client: %d", r.status)
		}
		c.server.Advance(time.Minute)
		if r := c.get(c.pushed(handle)); r.status != 400 {
			t.Errorf("expired: %d", r.status)
		}
	}
	c := start(t, lab.Habits{})
	if r := c.post(c.endpoint("/par")); r.status != 404 {
		t.Errorf("without the habit: %d", r.status)
	}
}

// TestPARClientID requires client_id, a parameter of the authorization request (RFC 9126 section
// 2.1), beside Basic too.
func TestPARClientID(t *testing.T) {
	c := start(t, lab.Habits{PAR: lab.PAROffered, RejectRepeatedID: true})
	c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, Secret: "s"})
	push := func(form url.Values) reply {
		r := c.request("POST", c.endpoint("/par"), form.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(c.id, "s")
		return c.do(r)
	}
	form := c.pushForm(nil)
	push(form).is(t, 201, "")
	form.Del("client_id")
	push(form).is(t, 400, "invalid_request")
}

// TestPARAuthentication authenticates a client that pushes as at the token endpoint, and binds the
// code to the key of its proof.
func TestPARAuthentication(t *testing.T) {
	c := start(t, lab.Habits{PAR: lab.PARRequired, DPoP: lab.DPoP{Supported: true, ServerNonce: 5}})
	signs, mine := newKey(t, "ES256"), newKey(t, "ES256")
	c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, JWKS: jwks(t, signs)})
	push := func(k key, nonce string) reply {
		form := asserted(c.pushForm(nil), k.sign(t, nil, c.claims(nil)))
		r := c.request("POST", c.endpoint("/par"), form.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("DPoP", mine.proof(t, "POST", c.endpoint("/par"), map[string]any{"nonce": nonce}))
		return c.do(r)
	}
	c.form(c.endpoint("/par"), c.pushForm(nil)).is(t, 401, "invalid_client")
	push(mine, "").is(t, 401, "invalid_client")
	first := push(signs, "")
	first.is(t, 400, "use_dpop_nonce")
	nonce := first.header.Get("DPoP-Nonce")
	r := push(signs, nonce)
	r.is(t, 201, "")
	back, _ := url.Parse(c.get(c.pushed(r.text("request_uri"))).header.Get("Location"))
	form := c.codeForm(back.Query().Get("code"), nil)
	exchange := func(k key) reply {
		r := c.request("POST", c.endpoint("/token"), asserted(form, signs.sign(t, nil, c.claims(nil))).Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("DPoP", k.proof(t, "POST", c.endpoint("/token"), map[string]any{"nonce": nonce}))
		return c.do(r)
	}
	exchange(signs).is(t, 400, "invalid_grant")
	exchange(mine).is(t, 200, "")
}

// TestAuthorizationDetails echoes what was granted, also after a refresh.
func TestAuthorizationDetails(t *testing.T) {
	c := start(t, lab.Habits{DetailTypes: []string{"account"}})
	details := `[{"actions":["read"],"type":"account"}]`
	r := c.login(url.Values{"authorization_details": {details}})
	if got := text(t, r.document["authorization_details"]); got != details {
		t.Errorf("granted %s", got)
	}
	if got := text(t, c.refresh(r.text("refresh_token"), nil).document["authorization_details"]); got != details {
		t.Errorf("refreshed %s", got)
	}
	for _, wrong := range []string{`[{"type":"payment"}]`, `{}`, `x`, `[]`} {
		if got := c.authorize(url.Values{"authorization_details": {wrong}}).Get("error"); got != "invalid_authorization_details" {
			t.Errorf("%s: %q", wrong, got)
		}
	}
	if got := c.login(nil).document["authorization_details"]; got != nil {
		t.Errorf("granted %v unrequested", got)
	}
}

// TestStepUp wants a user who has signed in in a certain way, and lately.
func TestStepUp(t *testing.T) {
	c := start(t, lab.Habits{StepUp: lab.StepUp{ACR: []string{"gold", "silver"}, MaxAge: 300}})
	if got := text(t, c.metadata()["acr_values_supported"]); got != `["gold","silver"]` {
		t.Errorf("lists %s", got)
	}
	weak := c.login(nil).text("access_token")
	if !c.works(weak) {
		t.Error("a ping needs it too")
	}
	rejected := func(token string) {
		t.Helper()
		r := c.call(token, "tools/call", echo)
		challenge := r.header.Get("WWW-Authenticate")
		if r.status != 401 || !strings.Contains(challenge, `error="insufficient_user_authentication"`) ||
			!strings.Contains(challenge, `acr_values="gold silver", max_age="300"`) {
			t.Errorf("%d %s", r.status, challenge)
		}
	}
	rejected(weak)
	rejected(c.login(url.Values{"acr_values": {"bronze"}}).text("access_token"))
	login := c.login(url.Values{"acr_values": {"gold silver"}, "max_age": {"300"}})
	if r := c.call(login.text("access_token"), "tools/call", echo); r.status != 200 {
		t.Errorf("stepped up: %d", r.status)
	}
	rejected(c.login(nil).text("access_token")) // which requests neither
	// A refresh is no sign-in, nor is a login of a user who is signed in; max_age makes one.
	c.server.Advance(6 * time.Minute)
	rejected(c.refresh(login.text("refresh_token"), nil).text("access_token"))
	rejected(c.login(url.Values{"acr_values": {"gold"}}).text("access_token"))
	if r := c.call(c.login(url.Values{"acr_values": {"gold"}, "max_age": {"300"}}).text("access_token"), "tools/call", echo); r.status != 200 {
		t.Errorf("signed in again: %d", r.status)
	}
	c.server.Advance(6 * time.Minute)
	if r := c.call(c.login(url.Values{"acr_values": {"gold"}, "prompt": {"login"}}).text("access_token"), "tools/call", echo); r.status != 200 {
		t.Errorf("signed in again: %d", r.status)
	}
}
