package lab_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// TestHabitsJSON writes and reads every field.
func TestHabitsJSON(t *testing.T) {
	secret := true
	want := lab.Habits{
		Name: "a", Methods: []string{"none"}, OmitMethods: true, RegisterMethod: "none", RegisterSilent: true,
		RegisterSecret: &secret, EnforceMethod: "any", SecretAlphabet: "é", SecretLifetime: -time.Second,
		RejectRepeatedID: true, InvalidClientStatus: 422, InvalidClientShape: "json", CodeUsedOnBadClient: true,
		RefreshUsedOnBadClient: true, NoRegistration: true, ManageClients: true, ClientIDMetadata: true,
		GrantsEnforced: true, Consent: "page", Iss: "off", OmitPKCE: true, RedirectExact: true,
		AccessTokenLifetime: time.Minute, ExpiresIn: "zero", AccessTokenJWT: true, Rotation: "grace",
		Grace: 30 * time.Second, DeadGrant: "x", FormResponses: true, ErrorsIn200: true, IssuerPath: "/t",
		IssuerSlash: "both", MetadataIssuer: "x", ServerForm: "oidc-append", ResourceForm: "root",
		ResourceName: "origin", Resource: "rejected", OneOrigin: true, MCPPath: "/m", ScopesSupported: []string{"s"},
		ChallengeScope: "c", EntryScope: "e", RequiredScope: "r", NeverGrant: []string{"n"}, Offline: "listed", LazyAuth: true,
		ClosedRegistration: "off", UnknownClientStatus: 422, UnknownClientCode: "x", ErrorMember: "error_code",
		Endpoints:           map[string]string{"token_endpoint": "x"},
		RejectRegistrations: []lab.RegistrationRule{{Has: "scope:a", Status: 403, Error: "x", Description: "y", Body: "z"}},
		FormClientID:        true, RevokeWantsSecret: true,
		UnknownClientBody: `{"a":1}`, DeadGrantStatus: 401, DeadGrantBody: "empty", RefreshScope: "required", TokenDelay: time.Second,
		ListedBefore: []string{"x"}, ChallengeMetadata: "x", SplitMetadata: true,
		SlashRedirect: 307,
		Assertions:    lab.Assertions{Type: "JWT", Algorithms: []string{"ES256"}, OmitAlgorithms: true, Audience: "either"},
		DPoP: lab.DPoP{
			Supported: true, Algorithms: []string{"ES256"}, Required: true, Resource: "offered", ServerNonce: 1,
			ResourceNonce: 2, QuietNonce: true, Window: time.Second, UnboundRefresh: true, ProveRevocation: true, RegisterBound: true,
		},
		PAR: "required", DetailTypes: []string{"d"}, StepUp: lab.StepUp{ACR: []string{"a"}, MaxAge: 3},
		Device:        lab.Device{Interval: 1, SlowDown: 2, EnforceInterval: true, OmitComplete: true, Lifetime: 9},
		OpenID:        true,
		Registrations: lab.Registrations{InitialToken: "i", Statement: true, RotateToken: true, ReplaceSecret: true},
		MTLS:          lab.MTLS{Aliases: true, BoundTokens: true},
		Grants:        []string{"client_credentials"},
	}
	for i := range reflect.TypeFor[lab.Habits]().NumField() {
		if reflect.ValueOf(want).Field(i).IsZero() {
			t.Errorf("%s is not in this test", reflect.TypeFor[lab.Habits]().Field(i).Name)
		}
	}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`"grace":"30s"`, `"secret_lifetime":"-1s"`, `"access_token_lifetime":"1m0s"`} {
		if !strings.Contains(string(raw), text) {
			t.Errorf("%s is not in %s", text, raw)
		}
	}
	var got lab.Habits
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v", got)
	}
	if raw, err := json.Marshal(lab.Habits{}); err != nil || string(raw) != "{}" {
		t.Errorf("the zero value: %s %v", raw, err)
	}

	fault := lab.Fault{Kind: lab.FaultDelay, Delay: 2 * time.Second, Times: 3}
	raw, err = json.Marshal(fault)
	if err != nil || string(raw) != `{"kind":"delay","times":3,"delay":"2s"}` {
		t.Errorf("fault: %s %v", raw, err)
	}
	var read lab.Fault
	if err := json.Unmarshal(raw, &read); err != nil || read != fault {
		t.Errorf("fault: %+v %v", read, err)
	}
}

// TestBadHabits rejects what no server could do.
func TestBadHabits(t *testing.T) {
	for _, raw := range []string{
		`{"rotation":"sometimes"}`, `{"grace":30}`, `{"grace":"30"}`, `{"graces":"30s"}`, `[]`,
		`{"issuer_path":"tenant"}`, `{"mcp_path":"/mcp/"}`, `{"register_method":"private_key_jwt"}`,
		`{"reject_registrations":[{"has":"colour","error":"x"}]}`, `{"reject_registrations":[{"has":"scope"}]}`,
		`{"dead_grant_body":"{"}`, `{"refresh_scope":"no"}`,
		`{"grants":["password"]}`, `{"mtls":{"x":1}}`, `{"registrations":{"x":1}}`, `{"device":{"x":1}}`, `{"par":"no"}`, `{"dpop":{"resource":"sometimes"}}`, `{"dpop":{"nonce":1}}`, `{"dpop":{"window":3}}`, `{"assertions":{"audience":"anyone"}}`, `{"assertions":{"nonce":1}}`,
	} {
		h := lab.Habits{Name: "untouched"}
		if err := json.Unmarshal([]byte(raw), &h); err == nil || h.Name != "untouched" {
			t.Errorf("%s: %+v", raw, h)
		}
	}
	if err := json.Unmarshal([]byte(`{"kind":"mishap"}`), new(lab.Fault)); err == nil {
		t.Error("a mishap is a fault")
	}
	if _, err := lab.Start(lab.Habits{Iss: "perhaps"}); err == nil || !strings.Contains(err.Error(), `"perhaps"`) {
		t.Errorf("started: %v", err)
	}
	if _, err := lab.StartWith(lab.Habits{}, lab.Options{Addr: "256.0.0.1:0"}); err == nil {
		t.Error("listens nowhere")
	}
}

// TestHabitsAreCopied changes habits after the start.
func TestHabitsAreCopied(t *testing.T) {
	h := lab.NoneFirst()
	c := start(t, h)
	h.Methods[0] = "changed"
	c.server.Habits().Methods[0] = "changed"
	if got := c.metadata()["token_endpoint_auth_methods_supported"].([]any)[0]; got != lab.MethodNone {
		t.Errorf("lists %v", got)
	}
}

// TestPersonalityJSON writes and reads every personality there is, and rejects
// what none could be.
func TestPersonalityJSON(t *testing.T) {
	for _, want := range lab.Personalities() {
		raw, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got lab.Personality
		if err := json.Unmarshal(raw, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, read %+v", want.Name, err, got)
		}
	}
	for text, want := range map[string]string{
		`{"name":"a","rotation":"grace"}`:                         `unknown field "rotation"`,
		`{"name":"a","habits":{"rotates":"grace"}}`:               `unknown field "rotates"`,
		`{"name":"a","habits":{"rotation":"soon"}}`:               `rotation cannot be "soon"`,
		`{"name":"a","login":"maybe"}`:                            `login cannot be "maybe"`,
		`{"name":"a","tabs":-1}`:                                  `tabs cannot be -1`,
		`{"name":"a","trouble":{"tokens":[{"kind":"hang"}]}}`:     `no endpoint is called "tokens"`,
		`{"name":"a","trouble":{"token:refresh":[{"kind":"x"}]}}`: `no fault is called "x"`,
		`{"name":`: `unexpected end`,
	} {
		got := lab.Personality{Name: "before"}
		if err := json.Unmarshal([]byte(text), &got); err == nil || !strings.Contains(err.Error(), want) || got.Name != "before" {
			t.Errorf("%s: %v, read %+v", text, err, got)
		}
	}
}
