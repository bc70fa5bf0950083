package oauth

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRegister(t *testing.T) {
	var got struct {
		method, contentType, authorization, body string
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.method, got.contentType, got.authorization, got.body = r.Method, r.Header.Get("Content-Type"), r.Header.Get("Authorization"), string(body)
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"client_secret_post"}`)
	})
	r, err := fetcher(t).Register(t.Context(), s.URL, RegistrationRequest{
		ClientName: "Handstamp", RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		ResponseTypes: []string{"code"}, TokenEndpointAuthMethod: MethodNone, ApplicationType: "native", InitialAccessToken: "iat",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"client_name":"Handstamp","redirect_uris":["http://127.0.0.1/callback"],"grant_types":["authorization_code","refresh_token"],` +
		`"response_types":["code"],"token_endpoint_auth_method":"none","application_type":"native"}`
	if got.method != "POST" || got.contentType != "application/json" || got.authorization != "Bearer iat" || got.body != want {
		t.Errorf("sent %+v\nwant body %s", got, want)
	}
	if r.ClientID != "c" || r.ClientSecret != "s" || r.TokenEndpointAuthMethod != MethodPost || !strings.Contains(r.Raw.Reveal(), `"c"`) {
		t.Errorf("got %+v", r)
	}
	if text := fmt.Sprintf("%v %+v %#v", r, *r, *r); strings.Contains(text, `"s"`) || strings.Contains(text, "client_id") {
		t.Errorf("a printed registration shows what it should not: %s", text)
	}
}

func TestRegisterRejected(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   string // the code of an *Error with its class; or "transient", "protocol"
	}{
		{"RFC 7591 error", 400, `{"error":"invalid_redirect_uri","error_description":"no"}`, "invalid_redirect_uri other"},
		{"error with 200", 200, `{"error":"invalid_client_metadata"}`, "invalid_client_metadata other"},
		{"plain rejection", 403, `Forbidden`, " other"},
		{"a rejection as a page", 403, `<html>`, " other"},
		{"no such endpoint", 404, `<html>`, " other"},
		{"JSON that is no OAuth error", 400, `{"statusCode":400}`, " other"},
		{"out of order", 503, `<html>`, "transient"},
		{"too many", 429, `{}`, "transient"},
		{"a page with 200", 200, `<html>`, "transient"},
		{"nothing with 200", 200, ``, "transient"},
		{"no client_id", 201, `{"client_secret":"s"}`, "protocol"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				io.WriteString(w, tc.body)
			})
			r, err := fetcher(t).Register(t.Context(), s.URL, RegistrationRequest{})
			if got := errorKind(r != nil, err); got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
		})
	}
	if _, err := fetcher(t).Register(t.Context(), "http://as.example/register", RegistrationRequest{}); errorKind(false, err) != "protocol" {
		t.Errorf("http endpoint: error %v", err)
	}
}

func TestParseRegistration(t *testing.T) {
	for _, tc := range []struct {
		name, doc string
		want      *Registration // Raw is left out; nil if the document must be rejected
	}{
		{"only an id", `{"client_id":"c"}`, &Registration{ClientID: "c"}},
		{"everything", `{"client_id":"c","client_secret":"s","client_secret_expires_at":1900000000,"token_endpoint_auth_method":"client_secret_basic",
			"redirect_uris":["http://127.0.0.1/cb"],"registration_access_token":"t","registration_client_uri":"https://as.example/c"}`,
			&Registration{ClientID: "c", ClientSecret: "s", SecretExpiresAt: time.Unix(1900000000, 0).UTC(), TokenEndpointAuthMethod: MethodBasic,
				RedirectURIs: []string{"http://127.0.0.1/cb"}, RegistrationAccessToken: "t", RegistrationClientURI: "https://as.example/c"}},
		{"nulls", `{"client_id":"c","client_secret":null,"client_secret_expires_at":null,"token_endpoint_auth_method":null,"redirect_uris":null,"logo_uri":null}`,
			&Registration{ClientID: "c"}},
		{"empty strings", `{"client_id":"c","client_secret":"","client_uri":"","logo_uri":"","tos_uri":"","registration_client_uri":""}`, &Registration{ClientID: "c"}},
		{"numbers for strings", `{"client_id":1234567890123456789,"client_secret":42}`, &Registration{ClientID: "1234567890123456789", ClientSecret: "42"}},
		{"method in an array", `{"client_id":"c","token_endpoint_auth_method":["client_secret_post"]}`, &Registration{ClientID: "c", TokenEndpointAuthMethod: MethodPost}},
		{"redirect URI without its array", `{"client_id":"c","redirect_uris":"http://localhost/cb"}`, &Registration{ClientID: "c", RedirectURIs: []string{"http://localhost/cb"}}},
		{"never expires", `{"client_id":"c","client_secret":"s","client_secret_expires_at":0}`, &Registration{ClientID: "c", ClientSecret: "s"}},
		{"expiry in a string", `{"client_id":"c","client_secret_expires_at":"1900000000"}`, &Registration{ClientID: "c", SecretExpiresAt: time.Unix(1900000000, 0).UTC()}},
		{"expiry in milliseconds", `{"client_id":"c","client_secret_expires_at":1900000000000}`, &Registration{ClientID: "c"}},
		{"expiry that is none", `{"client_id":"c","client_secret_expires_at":"never"}`, &Registration{ClientID: "c"}},
		{"expiry in no number", `{"client_id":"c","client_secret_expires_at":1e999}`, &Registration{ClientID: "c"}},
		{"management over http", `{"client_id":"c","registration_access_token":"t","registration_client_uri":"http://as.example/c"}`, &Registration{ClientID: "c"}},
		{"placeholder for the management token", `{"client_id":"c","registration_access_token":"[redacted]","registration_client_uri":"https://as.example/c"}`,
			&Registration{ClientID: "c"}},
		{"name in another case", `{"client_id":"c","Client_Secret":"s"}`, &Registration{ClientID: "c"}},
		{"no id", `{"client_secret":"s"}`, nil},
		{"empty id", `{"client_id":""}`, nil},
		{"id in another case", `{"Client_Id":"c"}`, nil},
		{"id with a line end", `{"client_id":"c\r\nX-Evil: 1"}`, nil},
		{"secret with a NUL", `{"client_id":"c","client_secret":"s\u0000"}`, nil},
		{"placeholder for the secret", `{"client_id":"c","client_secret":"[redacted]"}`, nil},
		{"a name twice", `{"client_id":"c","client_id":"d"}`, nil},
		{"hostile link", `{"client_id":"c","logo_uri":"javascript:alert(1)"}`, nil},
		{"hostile management URI", `{"client_id":"c","registration_client_uri":"file:///x"}`, nil},
		{"invalid UTF-8", "{\"client_id\":\"c\xff\"}", nil},
		{"cut off", `{"client_id":"c"`, nil},
		{"no object", `[]`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := ParseRegistration([]byte(tc.doc))
			if tc.want == nil {
				if errorKind(r != nil, err) != "protocol" {
					t.Errorf("got %+v, %v; want a *ProtocolError", r, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Raw.Reveal() != tc.doc {
				t.Error("the raw response was changed")
			}
			r.Raw = ""
			if !reflect.DeepEqual(r, tc.want) {
				a, _ := json.Marshal(r)
				t.Errorf("got %s (secret %q), want %+v", a, r.ClientSecret.Reveal(), tc.want)
			}
		})
	}
}

func FuzzParseRegistration(f *testing.F) {
	f.Add([]byte(`{"client_id":"c","client_secret":"s","client_secret_expires_at":0,"token_endpoint_auth_method":["none"]}`))
	f.Add([]byte(`{"client_id":7,"registration_client_uri":"https://as.example/c","registration_access_token":"t"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		r, err := ParseRegistration(doc)
		if err != nil {
			return
		}
		if r.ClientID == "" || !isVisible(r.ClientID) || !isVisible(r.ClientSecret.Reveal()) {
			t.Fatal("a malformed client was let through")
		}
		if r.RegistrationClientURI != "" && CheckEndpoint(r.RegistrationClientURI) != nil {
			t.Fatalf("URI %q was let through", r.RegistrationClientURI)
		}
		again, err := ParseRegistration([]byte(r.Raw))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("the stored response reads otherwise: %v", err)
		}
	})
}
