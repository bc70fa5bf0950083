//go:build unix

package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// A login that was sealed by anyone does not decide where the client secret of this machine goes: the MCP
// server names its authorization server.
func TestImportedLoginDoesNotNameEndpoints(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		verb   string
		grant  string // as configured
		change func(*record.Grant)
		issued string // the endpoint of ours that gets the secret
	}{
		"token":                        {verb: "token", issued: "token:refresh"},
		"logout":                       {verb: "logout", issued: "revoke"},
		"logout without refresh token": {verb: "logout", issued: "revoke", change: func(g *record.Grant) { g.RefreshToken = "" }},
		"client credentials": {verb: "token", grant: grantClientCredentials, issued: "token:client_credentials",
			change: func(g *record.Grant) { g.RefreshToken, g.Type = "", "client_credentials" }},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := lab.Start(lab.Habits{Grants: []string{lab.GrantClientCredentials}})
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			processes.Watch(t, server)
			server.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "correct-horse", Method: lab.MethodPost})
			dir := t.TempDir()
			c := &command{t: t, home: filepath.Join(dir, "home"), server: server, env: []string{"CONF_SECRET=correct-horse"}}
			var requests atomic.Int64
			theirs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
			defer theirs.Close()

			config := fmt.Sprintf(`{"servers":{"corp":{"url":%q,"client_id":"app","client_secret_env":"CONF_SECRET","grant":%q}}}`,
				server.MCPURL(), test.grant)
			config = strings.Replace(config, `,"grant":""`, "", 1)
			key, err := store.NewKey(server.MCPURL(), store.DefaultProfile)
			if err != nil {
				t.Fatal(err)
			}
			metadata := fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":"%[2]s/authorize","token_endpoint":"%[2]s/token",`+
				`"revocation_endpoint":"%[2]s/revoke","response_types_supported":["code"]}`, server.Issuer(), theirs.URL)
			rec := &record.Record{Version: record.SchemaVersion, Key: key, ServerURL: server.MCPURL(),
				AuthorizationServer: &record.AuthorizationServer{Issuer: server.Issuer(), Form: "rfc8414", Metadata: json.RawMessage(metadata)},
				Clients: []*record.Client{{Issuer: server.Issuer(), Source: record.SourceConfigured, ID: "app",
					Method: lab.MethodPost, MethodSource: record.MethodConfigured}},
				Grant: &record.Grant{Issuer: server.Issuer(), ClientID: "app", TokenEndpoint: theirs.URL + "/token",
					RevocationEndpoint: theirs.URL + "/revoke", AccessToken: "a", TokenType: "Bearer", RefreshToken: "r",
					ObtainedAt: time.Now().Add(-2 * time.Hour), ExpiresAt: time.Now().Add(-time.Hour),
					Resource: record.Resource{Value: server.MCPURL()}},
			}
			if test.change != nil {
				test.change(rec.Grant)
			}
			text, err := record.Encode(rec)
			if err != nil {
				t.Fatal(err)
			}
			text, err = json.Marshal(exported{Version: exportVersion, Record: text})
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := seal(text, identity.Recipient())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(c.home, 0o700); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{
				"home/config.json": config, "login.age": string(sealed), "key.txt": identity.String(),
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, stderr, code := c.run("import", filepath.Join(dir, "login.age"), "--identity", filepath.Join(dir, "key.txt")); code != 0 {
				t.Fatalf("import: %d\n%s", code, stderr)
			}
			_, stderr, _ := c.run(test.verb, "corp")
			if n := requests.Load(); n > 0 || server.Counts()[test.issued] == 0 {
				t.Errorf("%d requests went elsewhere, and here %v\n%s", n, server.Counts(), stderr)
			}
		})
	}
}
