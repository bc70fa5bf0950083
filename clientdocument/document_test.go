package clientdocument

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/clientkey"
)

func TestCompletedDocument(t *testing.T) {
	key := generate(t, "ES256")
	for _, c := range []struct {
		name     string
		document Document
		keys     []*clientkey.Key
		want     string
	}{
		{"command", Document{RedirectURIs: []string{"http://127.0.0.1/callback"}}, nil,
			`{"application_type":"native","grant_types":["authorization_code","refresh_token"],"redirect_uris":["http://127.0.0.1/callback"],"response_types":["code"],"token_endpoint_auth_method":"none"}`},
		{"web application with a key", Document{RedirectURIs: []string{"https://app.example/callback"}}, []*clientkey.Key{key},
			`{"application_type":"web","grant_types":["authorization_code","refresh_token"],"jwks":` + string(key.JWKS()) + `,"redirect_uris":["https://app.example/callback"],"response_types":["code"],"token_endpoint_auth_method":"private_key_jwt"}`},
		{"machine", Document{GrantTypes: []string{"client_credentials"}, JWKSURI: "https://app.example/jwks.json"}, []*clientkey.Key{key},
			`{"grant_types":["client_credentials"],"jwks_uri":"https://app.example/jwks.json","token_endpoint_auth_method":"private_key_jwt"}`},
	} {
		c.document.ClientID, c.document.ClientName = location, "Example"
		c.document.Complete(c.keys...)
		data, err := c.document.Encode()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got map[string]any
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		delete(got, "client_id")
		delete(got, "client_name")
		var want any
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if g, w := encode(t, got), encode(t, want); !bytes.Equal(g, w) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, g, w)
		}
	}
}

func TestWrongDocumentIsNotWritten(t *testing.T) {
	document := Document{ClientID: "http://app.example/c", RedirectURIs: []string{"http://app.example/"}}
	document.Complete()
	_, err := document.Encode()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"must start with https", "client_name is missing", "redirect URI"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q: %v", want, err)
		}
	}
	if _, err := Handler(document, nil); err == nil {
		t.Error("it is served")
	}
}

func TestKeyIsFoundByServers(t *testing.T) {
	key, next := generate(t, "ES256"), generate(t, "RS256")
	if err := CheckKey(key, KeySet(next, key)); err != nil {
		t.Error(err)
	}
	if err := CheckKey(key, next.JWKS()); err == nil || !strings.Contains(err.Error(), "is not in the JWK set") {
		t.Errorf("another key: %v", err)
	}
	renamed := bytes.Replace(key.JWKS(), []byte(key.ID()), []byte("renamed"), 1)
	if err := CheckKey(key, renamed); err == nil || !strings.Contains(err.Error(), `"renamed"`) {
		t.Errorf("by another name: %v", err)
	}
	if err := CheckKey(key, []byte("<html>")); err == nil {
		t.Error("what is no JWK set has the key")
	}
}

func TestHandlerServesDocumentAndKeys(t *testing.T) {
	key := generate(t, "ES256")
	document := Document{
		ClientID: location, ClientName: "Example", JWKSURI: "https://app.example/oauth/jwks.json",
		RedirectURIs: []string{"http://127.0.0.1/callback"},
	}
	document.Complete(key)
	keySet := KeySet(key)
	handler, err := Handler(document, keySet)
	if err != nil {
		t.Fatal(err)
	}
	keySet[0] = 'x' // the handler has its own
	server := httptest.NewServer(handler)
	defer server.Close()

	response, body := fetch(t, http.MethodGet, server.URL+"/oauth/client.json", "")
	for _, finding := range append(CheckResponse(response.StatusCode, response.Header), Check(location, body)...) {
		t.Errorf("the document: %s", finding.Text)
	}
	if got := response.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("the document: Content-Type %q", got)
	}
	keys, body := fetch(t, http.MethodGet, server.URL+"/oauth/jwks.json", "")
	for _, finding := range append(CheckResponse(keys.StatusCode, keys.Header), CheckKeySet(body, "ES256")...) {
		t.Errorf("the keys: %s", finding.Text)
	}
	if err := CheckKey(key, body); err != nil || keys.Header.Get("Content-Type") != "application/jwk-set+json" {
		t.Errorf("the keys: %v, %v", keys.Header, err)
	}
	for name, r := range map[string]*http.Response{"document": response, "keys": keys} {
		if !strings.Contains(r.Header.Get("Cache-Control"), "max-age=") || r.Header.Get("ETag") == "" {
			t.Errorf("the %s cannot be kept: %v", name, r.Header)
		}
	}

	for _, c := range []struct {
		method, path, tag string
		status            int
	}{
		{http.MethodGet, "/oauth/client.json", response.Header.Get("ETag"), 304},
		{http.MethodHead, "/oauth/client.json", "", 200},
		{http.MethodPost, "/oauth/client.json", "", 405},
		{http.MethodGet, "/oauth/client.json?x=1", "", 200},
		{http.MethodGet, "/oauth/", "", 404},
		{http.MethodGet, "/", "", 404},
	} {
		r, _ := fetch(t, c.method, server.URL+c.path, c.tag)
		if r.StatusCode != c.status || c.status == 405 && r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s %s: %d, %v", c.method, c.path, r.StatusCode, r.Header)
		}
	}
}

func fetch(t *testing.T, method, target, tag string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequest(method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tag != "" {
		request.Header.Set("If-None-Match", tag)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}
