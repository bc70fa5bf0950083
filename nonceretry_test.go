package handstamp

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A request that is sent again for a nonce has that of its own rejection, also where the response to
// another request, which came late, has brought back the one before.
func TestRetryHasTheNonceOfItsRejection(t *testing.T) {
	token := &cachedToken{proofs: new(proofs), token: "access-token"}
	req := httptest.NewRequest(http.MethodPost, "https://mcp.example/mcp", nil)
	rejection := func(nonce string) *http.Response {
		return &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Dpop-Nonce": {nonce}}}
	}
	if err := token.prove(req); err != nil { // makes the key
		t.Fatal(err)
	}
	var state retryState
	token.noteNonce(req, rejection("new"))
	if state.forNonce(token, rejection("new")) != token {
		t.Fatal("it is not sent again")
	}
	token.noteNonce(req, rejection("old"))
	for _, want := range []string{"new", "old"} { // the next request has what was kept
		if err := token.prove(req); err != nil {
			t.Fatal(err)
		}
		if err := state.proveAgain(req, token); err != nil {
			t.Fatal(err)
		}
		_, payload, _ := strings.Cut(req.Header["Dpop"][0], ".")
		payload, _, _ = strings.Cut(payload, ".")
		text, err := base64.RawURLEncoding.DecodeString(payload)
		if err != nil {
			t.Fatal(err)
		}
		var claims struct{ Nonce string }
		if err := json.Unmarshal(text, &claims); err != nil || claims.Nonce != want {
			t.Errorf("the proof has the nonce %q, want %q (%v)", claims.Nonce, want, err)
		}
	}
}
