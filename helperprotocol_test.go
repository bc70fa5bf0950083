package handstamp

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/store"
)

// described returns a Client whose every field is set.
func described(t *testing.T) *Client {
	t.Helper()
	c := &Client{
		Store: new(store.Memory), Profile: "work", LoginPolicy: LoginNever, LoginTimeout: time.Minute,
		LockTimeout: time.Second, Prompt: TerminalPrompt(nil, nil), Logger: nil,
		Registration: &Registration{
			Issuer: "https://as.example", ClientID: "c", ClientSecret: "the secret", SecretExpiresAt: time.Unix(1, 0).UTC(),
			TokenEndpointAuthMethod: "client_secret_post", RedirectURIs: []string{"http://127.0.0.1/a"}, Response: "{}",
		},
		AuthorizationServer: &AuthorizationServer{Issuer: "https://as.example", TokenEndpoint: "https://as.example/token"},
		ClientMetadataURL:   "https://c.example", ClientName: "n", ClientURI: "https://n.example", Scopes: []string{"a", "b"},
		Resource: "https://r.example", OmitResource: true, ExtraAuthParams: url.Values{"audience": {"x"}},
		RedirectURI: "http://127.0.0.1/b", CallbackPort: 7, BaseTransport: http.DefaultTransport, AuthTransport: http.DefaultTransport,
		InsecureAllowMissingPKCE: true, InsecureAllowHTTP: true, InsecureAllowPrivateAddresses: true,
		UntrustedServers: true,
		Key:              new(clientkey.Key), Certificate: new(tls.Certificate), Grant: ClientCredentials{}, DPoP: DPoPNever,
		InitialAccessToken: "initial", SoftwareStatement: "statement",
		RefreshHelper: &RefreshHelper{Command: []string{"x"}}, Hooks: Hooks{Notice: func(string, string) {}},
		Audit: slog.DiscardHandler, ClientStore: new(store.Memory),
	}
	for i := range reflect.TypeFor[Client]().NumField() {
		f := reflect.TypeFor[Client]().Field(i)
		stays := []string{"Logger", "OnRegister"} // nil here: what they hold is not compared
		if f.IsExported() && !slices.Contains(stays, f.Name) && reflect.ValueOf(c).Elem().Field(i).IsZero() {
			t.Fatalf("the test has no value for Client.%s", f.Name)
		}
	}
	return c
}

// A helper's Client is configured like the one that it works for, and keeps its own store,
// transports and functions.
func TestHelperClientIsConfiguredAlike(t *testing.T) {
	c := described(t)
	client, err := describe(c)
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(helperJob{Client: client, LockTimeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var job helperJob
	if err := json.Unmarshal(line, &job); err != nil {
		t.Fatal(err)
	}
	own := &Client{
		Store: new(store.Memory), OnRegister: c.OnRegister, Scopes: []string{"other"},
		ExtraAuthParams: url.Values{"other": {"y"}}, Registration: &Registration{Response: "other"},
		AuthorizationServer: &AuthorizationServer{RevocationEndpoint: "other"},
	}
	kept := own.Store
	if err := job.apply(own); err != nil {
		t.Fatal(err)
	}
	want := described(t)
	want.Store, want.Prompt, want.Hooks, want.BaseTransport, want.AuthTransport = kept, Prompt{}, Hooks{}, nil, nil
	want.Key, want.Certificate, want.Grant, want.Audit, want.ClientStore = nil, nil, nil, nil, nil
	want.RefreshHelper, want.LockTimeout = nil, 3*time.Second
	for i := range reflect.TypeFor[Client]().NumField() {
		f := reflect.TypeFor[Client]().Field(i)
		if !f.IsExported() {
			continue
		}
		got, wanted := reflect.ValueOf(own).Elem().Field(i).Interface(), reflect.ValueOf(want).Elem().Field(i).Interface()
		if !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s is %+v, want %+v", f.Name, got, wanted)
		}
	}
	if c.Registration.Response == "" || c.LockTimeout != time.Second {
		t.Error("describing the Client has changed it")
	}
}

func TestHelperClientWithoutRegistration(t *testing.T) {
	client, err := describe(&Client{Profile: "p"})
	if err != nil {
		t.Fatal(err)
	}
	own := &Client{Registration: &Registration{ClientID: "other"}}
	job := helperJob{Client: client}
	if err := job.apply(own); err != nil || own.Registration != nil || own.Profile != "p" {
		t.Errorf("apply = %v, and left %+v", err, own.Registration)
	}
	if job := (helperJob{}); job.apply(own) == nil {
		t.Error("a job without a Client is understood")
	}
}

// What callers branch on and show is the same whichever process an error comes from.
func TestErrorPassesFromTheHelper(t *testing.T) {
	if describeError(nil) != nil {
		t.Error("no error is described as one")
	}
	for kind, sentinel := range errorKinds {
		e := &Error{
			Kind: sentinel, Server: "as the helper has it", Message: "m", Hint: "h", Setting: "s", Code: "c",
			RetryAt: time.Unix(5, 0).UTC(), Err: errors.New("the cause"), RedirectURI: "http://127.0.0.1/r",
			opened: true, unrefreshed: true,
		}
		line, err := json.Marshal(describeError(e))
		if err != nil {
			t.Fatal(err)
		}
		var d helperError
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		e.Server = "https://mcp.example"
		if back := d.restore(e.Server); !reflect.DeepEqual(back, error(e)) {
			t.Errorf("%s: %#v came back as %#v from %s", kind, e, back, line)
		}
	}
	if back := describeError(errors.New("plain")).restore("x"); back.Error() != "plain" || errors.As(back, new(*Error)) {
		t.Errorf("a plain error came back as %#v", back)
	}
}
