//go:build unix

package doctor_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/doctor"
	"github.com/handstamp/handstamp/lab"
)

// written is a server that is described by its own documents.
type written struct {
	resource map[string]any // members beside the usual ones
	server   map[string]any
}

// start starts the server, and returns the URL of its MCP endpoint.
func (d written) start(t *testing.T) string {
	t.Helper()
	document := func(w http.ResponseWriter, members, more map[string]any) {
		for name, value := range more {
			members[name] = value
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(members)
	}
	handler := http.NewServeMux()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	handler.HandleFunc("/mcp", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+s.URL+`/described?sig=4f1c77aa90b2"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	handler.HandleFunc("/described", func(w http.ResponseWriter, _ *http.Request) {
		document(w, map[string]any{"resource": s.URL + "/mcp", "authorization_servers": []string{s.URL}}, d.resource)
	})
	handler.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		document(w, map[string]any{
			"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
			"registration_endpoint": s.URL + "/register", "code_challenge_methods_supported": []string{"S256"},
			"token_endpoint_auth_methods_supported": []string{"none"},
		}, d.server)
	})
	rejected := func(code string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":%q}`, code)
		}
	}
	handler.HandleFunc("/token", rejected("invalid_grant"))
	handler.HandleFunc("/register", rejected("invalid_client_metadata"))
	return s.URL + "/mcp"
}

const hostileText = "\x1b[31mred\x1b]0;title\x07 \u202eback\u200b <b>bold</b> \x00 end"

// What servers write goes into issue trackers and terminals.
func TestReportHasNoTextThatCannotBeSeen(t *testing.T) {
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf("scope-%d", i)
	}
	for name, d := range map[string]written{
		"scopes of the resource": {resource: map[string]any{"scopes_supported": []string{"a", hostileText}}},
		"authorization servers":  {resource: map[string]any{"authorization_servers": []string{hostileText}}},
		"resource":               {resource: map[string]any{"resource": "https://a.example/" + hostileText}},
		"methods":                {server: map[string]any{"token_endpoint_auth_methods_supported": []string{"none", hostileText}}},
		"grants":                 {server: map[string]any{"grant_types_supported": []string{"authorization_code", hostileText}}},
		"scopes":                 {server: map[string]any{"scopes_supported": []string{hostileText}}},
		"an endpoint":            {server: map[string]any{"token_endpoint": "https://a.example/" + hostileText}},
		"issuer":                 {server: map[string]any{"issuer": "https://a.example/" + hostileText}},
		"a long scope":           {server: map[string]any{"scopes_supported": []string{strings.Repeat("s", 9000)}}},
		"many scopes":            {server: map[string]any{"scopes_supported": many}},
		"many of the resource":   {resource: map[string]any{"scopes_supported": many}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &handstamp.Client{}
			r, err := doctor.Examine(t.Context(), c, d.start(t), doctor.Options{Recorder: doctor.Record(c)})
			if err != nil {
				t.Fatal(err)
			}
			lines := []string{r.Cause.Message, r.Cause.Hint, r.Cause.Command}
			for _, s := range r.Steps {
				lines = append(append(lines, s.Finding), s.Evidence...)
			}
			for _, line := range lines {
				if i := strings.IndexFunc(line, func(c rune) bool { return !unicode.IsGraphic(c) }); i >= 0 || len(line) > 2100 {
					t.Errorf("%d bytes: %q", len(line), line[:min(len(line), 300)])
				}
			}
			if raw, err := r.Bundle(nil); err != nil || len(raw) > 64<<10 {
				t.Errorf("a bundle of %d bytes: %v", len(raw), err)
			}
		})
	}
}

// Secrets that servers put into what they publish.
func TestReportRemovesWhatLooksLikeASecret(t *testing.T) {
	const planted = "hunter2-9f8e7d6c5b"
	for name, d := range map[string]written{
		"nothing but the URL of the metadata": {},
		"a key in the token endpoint":         {server: map[string]any{"token_endpoint": "https://a.example/token?api_key=" + planted}},
		"a signature":                         {server: map[string]any{"authorization_endpoint": "https://a.example/authorize?x=1&sig=" + planted}},
		"a password in an endpoint":           {server: map[string]any{"token_endpoint": "https://me:" + planted + "@a.example/token"}},
		"a password in the issuer":            {resource: map[string]any{"authorization_servers": []string{"https://me:" + planted + "@a.invalid"}}},
		"a JWT as a scope":                    {server: map[string]any{"scopes_supported": []string{"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0." + planted}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &handstamp.Client{}
			r, err := doctor.Examine(t.Context(), c, d.start(t), doctor.Options{Recorder: doctor.Record(c)})
			if err != nil {
				t.Fatal(err)
			}
			events, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{walked(r), string(events)} {
				if strings.Contains(text, planted) || strings.Contains(text, "4f1c77aa90b2") {
					t.Errorf("it is in %s", text)
				}
			}
			if _, err := r.Bundle(nil); err != nil {
				t.Errorf("no bundle can be written: %v", err)
			}
			if _, err := r.Diagram("doctor"); err != nil {
				t.Errorf("no diagram can be drawn: %v", err)
			}
		})
	}
}

// altered changes the responses of the MCP server to requests with a token.
type altered func(*http.Response)

func (a altered) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && req.URL.Path == "/mcp" && req.Header.Get("Authorization") != "" {
		a(resp)
	}
	return resp, err
}

// A server knows the tokens that it has issued, and may publish them.
func TestReportRemovesAStoredSecretThatTheServerPublishes(t *testing.T) {
	w := signedIn(t, lab.Habits{})
	token := w.Record().Grant.AccessToken.Reveal()
	c := w.Session()
	c.BaseTransport = altered(func(resp *http.Response) {
		resp.Body.Close()
		resp.StatusCode, resp.ContentLength = http.StatusOK, -1
		resp.Header = http.Header{"Content-Type": {"application/json"}}
		resp.Body = io.NopCloser(strings.NewReader(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25",` +
			`"serverInfo":{"name":"server of ` + token + `"}}}`))
	})
	r, err := doctor.Examine(t.Context(), c, w.Lab.MCPURL(), doctor.Options{Recorder: doctor.Record(c)})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(walked(r), token) {
		t.Errorf("the token is in %s", walked(r))
	}
	if _, err := r.Bundle(nil); err != nil {
		t.Errorf("no bundle can be written: %v", err)
	}
}

// A command is there to be copied into a shell, and a scope may have any of its characters.
func TestCommandQuotesTheScopeOfAServer(t *testing.T) {
	w := signedIn(t, lab.Habits{})
	c := w.Session()
	c.BaseTransport = altered(func(resp *http.Response) {
		resp.StatusCode, resp.Status = http.StatusForbidden, "403 Forbidden"
		resp.Header.Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="read $(reboot) a;b it's --fix"`)
	})
	r, err := doctor.Examine(t.Context(), c, w.Lab.MCPURL(), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantCause(t, r, doctor.CauseScope)
	const want = ` --force --scope read --scope '$(reboot)' --scope 'a;b' --scope 'it'\''s' --scope --fix`
	if !strings.HasSuffix(r.Cause.Command, want) {
		t.Errorf("the command is %q", r.Cause.Command)
	}
}
