package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/bridge"
)

// remoteRun is a bridge that does not run.
type remoteRun struct {
	*bridgeCommand
	made     *bridge.Options
	redirect string
}

// TestRemoteFlags: each flag of mcp-remote is taken and has its effect, or says
// why not.
func TestRemoteFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.json")
	if err := os.WriteFile(file, []byte(`{"client_id":"mine","client_secret":"s","token_endpoint_auth_method":"client_secret_post"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	variable := filepath.Join(t.TempDir(), "variable.json")
	if err := os.WriteFile(variable, []byte(`{"client_id":"mine","client_secret":"${SEC}"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args []string
		want func(b *remoteRun) bool
		err  string // a part of the error; empty: none
		says string // a part of standard error
	}{
		"port":                {args: []string{"4711"}, want: func(b *remoteRun) bool { return b.redirect == "http://localhost:4711/oauth/callback" }},
		"host and path":       {args: []string{"4711", "--host", "127.0.0.1", "--callback-path", "/back"}, want: func(b *remoteRun) bool { return b.redirect == "http://127.0.0.1:4711/back" }},
		"host alone":          {args: []string{"--host", "127.0.0.1"}, says: "without a callback port"},
		"no port":             {args: []string{"abc"}, err: "callback port"},
		"transport":           {args: []string{"--transport", "sse-only"}, want: func(b *remoteRun) bool { return b.made.Wire == bridge.WireSSE }},
		"transport http":      {args: []string{"--transport", "http-only"}, want: func(b *remoteRun) bool { return b.made.Wire == bridge.WireHTTP }},
		"transport first":     {args: []string{"--transport", "http-first"}, want: func(b *remoteRun) bool { return b.made.Wire == bridge.WireAuto }},
		"header":              {args: []string{"--header", "X-Mine: a b"}, want: func(b *remoteRun) bool { return b.made.Header.Get("X-Mine") == "a b" }},
		"debug":               {args: []string{"--debug"}, want: func(b *remoteRun) bool { return b.global.verbose }, says: "store: no login is stored"},
		"silent":              {args: []string{"--silent"}, want: func(b *remoteRun) bool { return b.global.quiet }},
		"ignored tools":       {args: []string{"--ignore-tool", "delete*"}, want: func(b *remoteRun) bool { return !b.made.Tool("deleteAll") && b.made.Tool("list") }},
		"ignored in any case": {args: []string{"--ignore-tool", "*account"}, want: func(b *remoteRun) bool { return !b.made.Tool("getAccount") && b.made.Tool("getUser") }},
		"host elsewhere":      {args: []string{"4711", "--host", "evil.example"}, err: "of this machine"},
		"interval alone":      {args: []string{"--ping-interval", "9"}, want: func(b *remoteRun) bool { return b.made.Ping == 9*time.Second }},
		"client in a file": {args: []string{"--static-oauth-client-info", "@" + variable}, want: func(b *remoteRun) bool {
			return b.clients[0].Registration.ClientSecret.Reveal() == "fr0m env"
		}},
		"auth timeout":        {args: []string{"--auth-timeout", "7"}, want: func(b *remoteRun) bool { return b.clients[0].LoginTimeout == 7*time.Second }},
		"negative":            {args: []string{"--auth-timeout", "-7"}, err: "number of seconds"},
		"authorize parameter": {args: []string{"--authorize-param", "audience=x"}, want: func(b *remoteRun) bool { return b.clients[0].ExtraAuthParams.Get("audience") == "x" }},
		"no resource":         {args: []string{"--disable-resource-parameter"}, want: func(b *remoteRun) bool { return b.clients[0].OmitResource }},
		"resource":            {args: []string{"--resource", "https://tenant.test/"}, want: func(b *remoteRun) bool { return b.clients[0].Resource == "https://tenant.test/" }},
		"client": {args: []string{"--static-oauth-client-info", "@" + file}, want: func(b *remoteRun) bool {
			r := b.clients[0].Registration
			return r != nil && r.ClientID == "mine" && r.ClientSecret.Reveal() == "s" && r.TokenEndpointAuthMethod == "client_secret_post"
		}},
		// The ports are those of mcp-remote 0.15.1 for these command lines.
		"client without a port": {args: []string{"--static-oauth-client-info", "@" + file}, want: func(b *remoteRun) bool {
			return b.redirect == "http://localhost:25435/oauth/callback"
		}},
		"client without a port, but more": {args: []string{"--static-oauth-client-info", "@" + file, "--header", "X-A: ${SEC}", "--resource", "https://r.test/", "--authorize-param", "p=q", "--host", "127.0.0.1"},
			want: func(b *remoteRun) bool { return b.redirect == "http://127.0.0.1:8896/oauth/callback" }},
		"client with a port of ours": {args: []string{"--static-oauth-client-info", "@" + file, "--callback-port", "4711"}, want: func(b *remoteRun) bool {
			return b.redirect == "" && b.clients[0].CallbackPort == 4711
		}},
		"resource and none": {args: []string{"--resource", "https://r.test/", "--disable-resource-parameter"}, says: "overrides --resource", want: func(b *remoteRun) bool {
			return b.clients[0].OmitResource && b.clients[0].Resource == ""
		}},
		"empty resource": {args: []string{"--resource", ""}, want: func(b *remoteRun) bool { return b.clients[0].OmitResource }},
		"fractions": {args: []string{"--connect-timeout", "1.5", "--auth-timeout", "0.5", "--ping-interval", "2.5"}, want: func(b *remoteRun) bool {
			return b.remote.connectTimeout == seconds(1500*time.Millisecond) && b.clients[0].LoginTimeout == 500*time.Millisecond && b.made.Ping == 2500*time.Millisecond
		}},
		"client in the open":  {args: []string{"--static-oauth-client-info", `{"client_id":"mine","client_secret":"s3cret"}`}, says: "can be read by every user"},
		"client that is none": {args: []string{"--static-oauth-client-info", `{"client_secret":"s3cret"}`}, err: "no client_id"},
		"client broken":       {args: []string{"--static-oauth-client-info", `{s3cret`}, err: "is a JSON object"},
		"metadata": {args: []string{"--static-oauth-client-metadata", `{"scope":"a b","client_name":"Mine","logo_uri":"x"}`}, says: "logo_uri", want: func(b *remoteRun) bool {
			return strings.Join(b.clients[0].Scopes, " ") == "a b" && b.clients[0].ClientName == "Mine"
		}},
		"keep-alive":        {args: []string{"--keep-alive", "--ping-interval", "9"}, want: func(b *remoteRun) bool { return b.made.Ping == 9*time.Second }},
		"no keep-alive":     {want: func(b *remoteRun) bool { return b.made.Ping == 0 && b.made.HTTP.Jar != nil }},
		"no cookies":        {args: []string{"--disable-cookies"}, want: func(b *remoteRun) bool { return b.made.HTTP.Jar == nil }},
		"timeouts and IPv4": {args: []string{"--connect-timeout", "3", "--headers-timeout", "4", "--ipv4", "--enable-proxy", "--protocol", "auto"}},
		"no effect":         {args: []string{"--body-timeout", "0"}, says: "never cut off"},
		"client credentials": {args: []string{"--client-credentials"}, want: func(b *remoteRun) bool {
			return b.clients[0].Grant == handstamp.Grant(handstamp.ClientCredentials{})
		}},
		"device code": {args: []string{"--device-code"}, want: func(b *remoteRun) bool {
			return b.clients[0].Grant == handstamp.Grant(handstamp.DeviceCode{})
		}},
		"token endpoint": {args: []string{"--token-endpoint", "https://x.test/"}, err: "metadata"},
		"id token":       {args: []string{"--use-id-token"}, err: "ID token"},
	} {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			a := newApp(Process{Stderr: &said, Environ: []string{"HANDSTAMP_STORE=memory", "HOME=" + t.TempDir(), "SEC=fr0m env"}})
			b := &remoteRun{bridgeCommand: &bridgeCommand{app: a}}
			cmd := b.command()
			args := append([]string{"https://mcp.test/mcp"}, tt.args...)
			err := cmd.ParseFlags(args)
			if err != nil {
				err = flagError(cmd, err)
			} else {
				rest := cmd.Flags().Args()
				if err = cmd.Args(cmd, rest); err == nil {
					if err = b.remote.apply(b.bridgeCommand, cmd.Flags(), rest); err == nil {
						target, terr := a.target(rest[0])
						if terr != nil {
							t.Fatal(terr)
						}
						b.made, err = b.options(t.Context(), target)
					}
				}
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || kindOf(err).exit != exitUsage {
					t.Errorf("error %v, want a usage error with %q", err, tt.err)
				}
				if err != nil && strings.Contains(err.Error(), "s3cret") {
					t.Errorf("the error holds the secret: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b.redirect = a.clients[0].RedirectURI
			if tt.want != nil && !tt.want(b) {
				t.Error("the flag has not its effect")
			}
			if !strings.Contains(said.String(), tt.says) || tt.says == "" && said.String() != "" || strings.Contains(said.String(), "s3cret") {
				t.Errorf("standard error: %q, want %q", said.String(), tt.says)
			}
		})
	}
}
