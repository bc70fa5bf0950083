package oauth

import (
	"net/http"
	"net/url"
	"reflect"
	"testing"
)

func TestClientCredentials(t *testing.T) {
	for _, tc := range []struct {
		name          string
		client        ClientCredentials
		authorization string
		form          url.Values
		fails         bool
	}{
		{"none", ClientCredentials{ID: "c", Method: MethodNone}, "", url.Values{"client_id": {"c"}}, false},
		{"none never sends a secret", ClientCredentials{ID: "c", Secret: "s", Method: MethodNone}, "", url.Values{"client_id": {"c"}}, false},
		{"post", ClientCredentials{ID: "c", Secret: "s", Method: MethodPost}, "", url.Values{"client_id": {"c"}, "client_secret": {"s"}}, false},
		{"basic repeats nothing in the body", ClientCredentials{ID: "c", Secret: "s", Method: MethodBasic}, "Basic Yzpz", url.Values{}, false},
		// base64("https%3A%2F%2Fc.example%2Fid:a+b%3A%25%2B%C3%A4")
		{"basic is form-encoded first", ClientCredentials{ID: "https://c.example/id", Secret: "a b:%+ä", Method: MethodBasic},
			"Basic aHR0cHMlM0ElMkYlMkZjLmV4YW1wbGUlMkZpZDphK2IlM0ElMjUlMkIlQzMlQTQ=", url.Values{}, false},
		{"basic with the id in the form, where the server looks the client up by it",
			ClientCredentials{ID: "c", Secret: "s", Method: MethodBasic, FormID: true}, "Basic Yzpz", url.Values{"client_id": {"c"}}, false},
		{"none with an empty secret", ClientCredentials{ID: "c", Method: MethodNone, EmptySecret: true}, "",
			url.Values{"client_id": {"c"}, "client_secret": {""}}, false},
		{"basic with an empty secret in the form", ClientCredentials{ID: "c", Secret: "s", Method: MethodBasic, EmptySecret: true}, "Basic Yzpz",
			url.Values{"client_secret": {""}}, false},
		{"post does not lose its secret to an empty one", ClientCredentials{ID: "c", Secret: "s", Method: MethodPost, EmptySecret: true}, "",
			url.Values{"client_id": {"c"}, "client_secret": {"s"}}, false},
		{"post without a secret", ClientCredentials{ID: "c", Method: MethodPost}, "", nil, true},
		{"basic without a secret", ClientCredentials{ID: "c", Method: MethodBasic}, "", nil, true},
		{"no id", ClientCredentials{Method: MethodNone}, "", nil, true},
		{"no method", ClientCredentials{ID: "c"}, "", nil, true},
		{"unknown method", ClientCredentials{ID: "c", Secret: "s", Method: "client_secret_jwt"}, "", nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// What another method left behind must not be sent too.
			h := http.Header{"Authorization": {"Basic old"}}
			form := url.Values{"client_id": {"old"}, "client_secret": {"old"}}
			err := tc.client.Apply(h, form)
			if (err != nil) != tc.fails {
				t.Fatalf("error %v, want one: %v", err, tc.fails)
			}
			if err == nil && (h.Get("Authorization") != tc.authorization || !reflect.DeepEqual(form, tc.form)) {
				t.Errorf("Authorization %q, form %v; want %q, %v", h.Get("Authorization"), form, tc.authorization, tc.form)
			}
		})
	}
}

func TestMethodChoice(t *testing.T) {
	type list = []string
	both := list{MethodBasic, MethodPost}
	for _, tc := range []struct {
		listed list
		secret bool
		want   list
		ask    string
	}{
		{nil, true, both, MethodBasic},
		{nil, false, list{MethodNone}, MethodBasic},
		{list{}, true, both, MethodBasic},
		{list{MethodNone, MethodPost, MethodBasic}, true, both, MethodNone},
		{list{MethodPost, MethodBasic}, true, both, MethodPost},
		{list{MethodPost}, true, list{MethodPost, MethodBasic}, MethodPost},
		{list{MethodBasic}, true, both, MethodBasic},
		{list{MethodNone, MethodPost}, true, list{MethodPost, MethodBasic}, MethodNone},
		{list{MethodNone}, true, both, MethodNone},
		{list{"private_key_jwt"}, true, both, MethodBasic},
		{list{MethodPost, MethodBasic}, false, list{MethodNone}, MethodPost},
		{list{MethodBasic, MethodPost}, true, both, MethodPost},
	} {
		if got := MethodCandidates(tc.listed, tc.secret); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("Candidates(%q, %v) = %q, want %q", tc.listed, tc.secret, got, tc.want)
		}
		if got := RegistrationMethod(tc.listed); got != tc.ask {
			t.Errorf("AskMethod(%q) = %q, want %q", tc.listed, got, tc.ask)
		}
	}
}
