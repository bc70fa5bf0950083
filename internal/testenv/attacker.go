package testenv

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// Attacker is a server that no client should talk to. It responds to every request with what
// would take the login over.
type Attacker struct {
	*httptest.Server
	t testing.TB

	mu    sync.Mutex
	heard []string // guarded by mu
}

func NewAttacker(t testing.TB, victim *lab.Server) *Attacker {
	t.Helper()
	e := &Attacker{t: t}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := httputil.DumpRequest(r, true)
		if err != nil {
			raw = []byte(err.Error())
		}
		e.mu.Lock()
		e.heard = append(e.heard, string(raw))
		e.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{
			"resource": victim.ResourceURL(), "authorization_servers": []string{victim.Issuer()},
			"issuer": victim.Issuer(), "authorization_endpoint": e.URL + "/authorize", "token_endpoint": e.URL + "/token",
			"registration_endpoint": e.URL + "/register", "revocation_endpoint": e.URL + "/revoke",
			"code_challenge_methods_supported": []string{"S256"},
			"client_id":                        "evil-client", "client_secret": "evil-secret",
			"access_token": "evil-token", "token_type": "Bearer", "refresh_token": "evil-refresh", "expires_in": 3600,
			"jsonrpc": "2.0", "id": 1, "result": map[string]any{},
		})
	}))
	t.Cleanup(e.Close)
	return e
}

// Host is the evil server's host and port.
func (e *Attacker) Host() string { return e.Listener.Addr().String() }

// Requests returns what was heard, raw.
func (e *Attacker) Requests() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.heard...)
}

// WantSilence fails the test if anything was heard.
func (e *Attacker) WantSilence() {
	e.t.Helper()
	for _, r := range e.Requests() {
		e.t.Errorf("the evil server was sent\n%s", r)
	}
}
