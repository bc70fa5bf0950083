package lab_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// TestWholeWay goes from the first challenge to the second session, as a client
// would, and looks at what the server noted.
func TestWholeWay(t *testing.T) {
	c := start(t, lab.NoneFirst())

	challenge := c.call("", "ping", "")
	if challenge.status != http.StatusUnauthorized {
		t.Fatalf("without a token: %d", challenge.status)
	}
	_, after, _ := strings.Cut(challenge.header.Get("WWW-Authenticate"), `resource_metadata="`)
	resourceMetadata, _, ok := strings.Cut(after, `"`)
	if !ok {
		t.Fatalf("challenge %q names no metadata", challenge.header.Get("WWW-Authenticate"))
	}
	resource := c.get(resourceMetadata)
	if got := resource.text("resource"); got != c.server.MCPURL() {
		t.Errorf("resource is %q", got)
	}
	if got := resource.document["authorization_servers"].([]any)[0]; got != c.server.Issuer() {
		t.Errorf("authorization server is %q, want %q", got, c.server.Issuer())
	}
	metadata := c.metadata()
	if metadata["issuer"] != c.server.Issuer() {
		t.Errorf("issuer is %q", metadata["issuer"])
	}
	if got := fmt.Sprint(metadata["token_endpoint_auth_methods_supported"]); got != "[none client_secret_post client_secret_basic]" {
		t.Errorf("methods are %s", got)
	}

	registration := c.register(map[string]any{"token_endpoint_auth_method": "none"})
	if c.method != lab.MethodPost || c.secret == "" {
		t.Fatalf("registered %q: %s", c.method, registration.raw)
	}
	response := c.authorize(nil)
	if response.Get("iss") != c.server.Issuer() || response.Get("state") != "a state" {
		t.Errorf("authorization response %v", response)
	}
	tokens := c.do(c.tokenRequest(c.codeForm(response.Get("code"), nil)))
	tokens.is(t, http.StatusOK, "")
	if tokens.document["expires_in"] != 3600.0 || tokens.text("token_type") != "Bearer" {
		t.Errorf("response %s", tokens.raw)
	}
	if !c.works(tokens.text("access_token")) {
		t.Error("the access token does not work")
	}
	echo := c.call(tokens.text("access_token"), "tools/call", `{"name":"echo","arguments":{"text":"hello"}}`)
	if !strings.Contains(echo.raw, `"hello"`) {
		t.Errorf("echo says %s", echo.raw)
	}

	c.server.ExpireAccessTokens()
	if c.works(tokens.text("access_token")) {
		t.Error("an expired access token works")
	}
	// The bug of the second session: the first listed method, without the secret.
	c.method = lab.MethodNone
	c.refresh(tokens.text("refresh_token"), nil).is(t, http.StatusUnauthorized, "invalid_client")
	c.method = lab.MethodPost
	refreshed := c.refresh(tokens.text("refresh_token"), nil)
	refreshed.is(t, http.StatusOK, "")
	if !c.works(refreshed.text("access_token")) {
		t.Error("the refreshed access token does not work")
	}

	want := map[string]int{
		"mcp": 5, "resource_metadata": 1, "server_metadata": 1, "register": 1,
		"authorize": 1, "token:code": 1, "token:refresh": 2,
	}
	if got := c.server.Counts(); !maps.Equal(got, want) {
		t.Errorf("counts %v, want %v", got, want)
	}
	audit := c.server.Audit()
	if audit.Codes != 1 || audit.Refreshes != 1 || audit.Reuses != 0 || audit.FamiliesRevoked != 0 {
		t.Errorf("audit %+v", audit)
	}
	if got := fmt.Sprint(audit.Families[0].Issued, audit.Families[0].Presented); got != "[1 1] [1 0]" {
		t.Errorf("issued and presented %s", got)
	}
}

// TestDiaryHasNoSecretsOfOtherGrants looks for the secrets of every other way to a token, likewise.
func TestDiaryHasNoSecretsOfOtherGrants(t *testing.T) {
	c := start(t, lab.Habits{
		OpenID: true, PAR: lab.PAROffered, ManageClients: true, DPoP: lab.DPoP{Supported: true},
		Grants: []string{lab.GrantClientCredentials, lab.GrantDeviceCode, lab.GrantJWTBearer, lab.GrantTokenExchange},
	})
	mine := newKey(t, "ES256")
	c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, JWKS: jwks(t, mine), RedirectURIs: []string{redirectURI}})
	c.server.TrustIssuer(c.id, jwks(t, mine))
	var sent []string
	assert := func() string {
		sent = append(sent, mine.sign(t, nil, c.claims(nil)))
		return sent[len(sent)-1]
	}
	send := func(path string, form url.Values) reply {
		r := c.form(c.endpoint(path), asserted(form, assert()))
		if r.status/100 != 2 {
			t.Fatalf("%s: %s", path, r.raw)
		}
		return r
	}
	pushed := send("/par", c.pushForm(url.Values{"scope": {"openid"}}))
	back, _ := url.Parse(c.get(c.pushed(pushed.text("request_uri"))).header.Get("Location"))
	login := send("/token", c.codeForm(back.Query().Get("code"), nil))
	send("/token", url.Values{"grant_type": {lab.GrantClientCredentials}})
	send("/token", url.Values{"grant_type": {lab.GrantJWTBearer}, "assertion": {assert()}})
	send("/token", url.Values{
		"grant_type": {lab.GrantTokenExchange}, "subject_token": {login.text("id_token")}, "audience": {"x"},
		"subject_token_type":   {"urn:ietf:params:oauth:token-type:id_token"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:id-jag"},
	})
	device := send("/device_authorization", nil)
	if err := c.server.ApproveDevice(device.text("user_code")); err != nil {
		t.Fatal(err)
	}
	send("/token", url.Values{"grant_type": {lab.GrantDeviceCode}, "device_code": {device.text("device_code")}})
	var printed strings.Builder
	for _, r := range c.server.Requests() {
		fmt.Fprintf(&printed, "%v %+v %v %v\n", r, r, r.Header, r.Params)
	}
	for _, secret := range append(c.server.Secrets(), sent...) {
		if strings.Contains(printed.String(), secret) {
			t.Errorf("%.12s… can be printed", secret)
		}
	}
}

// TestDiaryHasNoSecrets looks for every secret in everything that can be printed.
func TestDiaryHasNoSecrets(t *testing.T) {
	c := start(t, lab.Habits{RegisterMethod: lab.MethodBasic, ManageClients: true})
	c.register(nil)
	tokens := c.login(nil)
	c.works(tokens.text("access_token"))
	c.refresh(tokens.text("refresh_token"), nil)

	secrets := c.server.Secrets()
	if len(secrets) != 8 { // client secret, management token, code and its verifier, two pairs
		t.Fatalf("%d secrets", len(secrets))
	}
	var printed strings.Builder
	for _, r := range c.server.Requests() {
		fmt.Fprintf(&printed, "%v %+v %#v\n", r, r, struct{ lab.Request }{r})
		fmt.Fprintln(&printed, r.Header, r.Params, r.RegistrationBody)
	}
	fmt.Fprintf(&printed, "%v %+v %#v\n", c.server.Clients(), c.server.Clients(), c.server.Clients())
	fmt.Fprintf(&printed, "%v %+v %#v\n", c.server.Issue("ana", "", ""), c.server.Issue("ana", "", ""), c.server.Issue("ana", "", ""))
	for _, secret := range c.server.Secrets() {
		if strings.Contains(printed.String(), secret) {
			t.Errorf("%.8s… can be printed", secret)
		}
	}
	var refreshed bool
	for _, r := range c.server.Requests() {
		if r.Endpoint == "token:refresh" {
			refreshed = true
			if r.Refresh != lab.Fingerprint(tokens.text("refresh_token")) || r.AuthMethod != lab.MethodBasic {
				t.Errorf("noted %v", r)
			}
		}
	}
	if !refreshed {
		t.Error("the refresh is not in the request log")
	}
}

// TestExactUnderLoad has many clients at once: nothing is lost, and of many that
// use one refresh token one succeeds.
func TestExactUnderLoad(t *testing.T) {
	const clients = 20
	c := start(t, lab.Habits{Rotation: lab.RotateStrictKeep})
	token := c.login(nil).text("refresh_token")
	var mu sync.Mutex
	statuses := make(map[int]int)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			response := c.refresh(token, nil)
			mu.Lock()
			defer mu.Unlock()
			statuses[response.status]++
		})
	}
	all.Wait()
	if statuses[http.StatusOK] != 1 || statuses[http.StatusBadRequest] != clients-1 {
		t.Errorf("statuses %v", statuses)
	}
	if n := c.server.Counts()["token:refresh"]; n != clients {
		t.Errorf("counted %d", n)
	}
	audit := c.server.Audit()
	if audit.Refreshes != 1 || audit.Reuses != clients-1 || audit.Rejected != clients-1 || audit.Families[0].Presented[0] != clients {
		t.Errorf("audit %+v", audit)
	}
	for i, r := range c.server.Requests() {
		if r.Number != i+1 || r.Status == 0 {
			t.Errorf("request %d: %v", i+1, r)
		}
	}
}

// TestClock moves the server's time and no one else's.
func TestClock(t *testing.T) {
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	c := start(t, lab.Habits{})
	c.server.SetClock(func() time.Time { return noon })
	token := c.login(nil).text("access_token")
	c.server.Advance(time.Hour - time.Second)
	if !c.works(token) {
		t.Error("the access token ended early")
	}
	c.server.Advance(time.Second)
	response := c.call(token, "ping", "")
	if response.status != http.StatusUnauthorized {
		t.Error("the access token has no end")
	}
	if got := response.header.Get("Date"); got != "Tue, 01 Jan 2030 13:00:00 GMT" {
		t.Errorf("Date is %s", got)
	}
	code := c.authorize(nil).Get("code")
	c.server.Advance(time.Minute)
	c.do(c.tokenRequest(c.codeForm(code, nil))).is(t, http.StatusBadRequest, "invalid_grant")
}

// TestReset empties the request log; what the server knows stays.
func TestReset(t *testing.T) {
	c := start(t, lab.Habits{})
	tokens := c.login(nil)
	refreshed := c.refresh(tokens.text("refresh_token"), nil)
	c.server.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus})
	gate := c.server.Hold("mcp:received")
	c.server.Reset()
	if err := func() error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := gate.Wait(ctx)
		return err
	}(); err == nil {
		t.Error("a user is at the gate")
	}
	if n := len(c.server.Requests()); n != 0 || len(c.server.Counts()) != 0 {
		t.Errorf("%d requests, counts %v", n, c.server.Counts())
	}
	if audit := c.server.Audit(); audit.Codes != 0 || audit.Refreshes != 0 || audit.Families[0].Presented[0] != 0 {
		t.Errorf("audit %+v", audit)
	}
	if !c.works(refreshed.text("access_token")) {
		t.Error("the access token is forgotten, or the fault or the gate is there")
	}
}

// TestClose ends what hangs, and closed servers do not respond.
func TestClose(t *testing.T) {
	c := start(t, lab.Habits{})
	gate := c.server.Hold("token:received")
	c.server.SetFault("revoke", lab.Fault{Kind: lab.FaultHang})
	failed := make(chan error, 2)
	go func() {
		_, err := c.try(c.tokenRequest(c.codeForm("x", nil)))
		failed <- err
	}()
	if _, err := gate.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	hanging := c.server.Hold("revoke:received")
	go func() {
		_, err := c.try(c.request(http.MethodPost, c.endpoint("/revoke"), ""))
		failed <- err
	}()
	if _, err := hanging.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	hanging.Release()
	c.server.Close()
	c.server.Close()
	for range 2 {
		if err := <-failed; err == nil {
			t.Error("a request got a response from a closed server")
		}
	}
	if _, err := c.try(c.request(http.MethodGet, c.server.MCPURL(), "")); err == nil {
		t.Error("a closed server responds")
	}
}

// TestMoveTo gives the MCP server another authorization server.
func TestMoveTo(t *testing.T) {
	old, next := start(t, lab.Habits{}), start(t, lab.Habits{IssuerPath: "/new"})
	before := old.login(nil).text("access_token")
	after := next.server.Issue("ana", old.server.ResourceURL(), "").Access
	old.server.MoveTo(next.server)
	listed := old.get(strings.TrimSuffix(old.server.MCPURL(), "/mcp") + "/.well-known/oauth-protected-resource/mcp")
	if got := fmt.Sprint(listed.document["authorization_servers"]); got != "["+next.server.Issuer()+"]" {
		t.Errorf("the metadata lists %s", got)
	}
	if old.works(before) || !old.works(after) {
		t.Error("the access tokens of the wrong server work")
	}
	old.server.MoveTo(nil)
	if !old.works(before) || old.works(after) {
		t.Error("moving back changed nothing")
	}
}
