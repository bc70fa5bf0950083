//go:build unix

package cli

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/lab"
)

// TestRejectedForGoodIsLeftAlone has a bridge, whose host calls four times a second, at servers that
// reject for good what the bridge needs. What counts is what reaches them.
func TestRejectedForGoodIsLeftAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time")
	}
	const calls = 12
	said := func(status int, code string) lab.Fault {
		return lab.Fault{Kind: lab.FaultStatus, Status: status, ContentType: "application/json", Body: `{"error":"` + code + `"}`}
	}
	never := []string{"--login", "never"}
	for name, test := range map[string]struct {
		login    bool   // beforehand; its access token has expired
		endpoint string // that rejects
		fault    lab.Fault
		flags    []string
		most     int // requests to it, beside those that the host makes
	}{
		"registration":           {false, "register", said(400, "invalid_client_metadata"), nil, 6},
		"closed registration":    {false, "register", said(403, "access_denied"), nil, 3},
		"client at the code":     {false, "token:code", said(401, "invalid_client"), nil, 3},
		"code":                   {false, "token:code", said(400, "invalid_grant"), nil, 3},
		"client, with logins":    {true, "token:refresh", said(401, "invalid_client"), nil, 3},
		"client":                 {true, "token:refresh", said(401, "invalid_client"), never, 3},
		"unauthorized client":    {true, "token:refresh", said(400, "unauthorized_client"), never, 3},
		"refresh token":          {true, "token:refresh", said(400, "invalid_grant"), never, 1},
		"each token, with login": {true, "mcp", lab.Fault{Kind: lab.FaultStatus, Status: 401}, nil, calls + 8},
		"each token":             {true, "mcp", lab.Fault{Kind: lab.FaultStatus, Status: 401}, never, calls + 8},
		"access":                 {true, "mcp", lab.Fault{Kind: lab.FaultStatus, Status: 403}, nil, calls + 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCommand(t)
			if test.login {
				if _, stderr, code := c.run("login", c.server.MCPURL()); code != 0 {
					t.Fatalf("login: %s", stderr)
				}
				if test.endpoint != "mcp" {
					c.server.Advance(2 * time.Hour)
					c.server.ExpireAccessTokens()
				}
			}
			c.server.Reset()
			c.server.SetFault(test.endpoint, test.fault)
			cmd, stdin, stdout, stderr := c.start(append([]string{"bridge", c.server.MCPURL()}, test.flags...)...)
			go io.Copy(io.Discard, stdout)
			go io.Copy(io.Discard, stderr)
			io.WriteString(stdin, `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`+"\n")
			io.WriteString(stdin, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n")
			tick := time.NewTicker(250 * time.Millisecond)
			defer tick.Stop()
			for i := range calls {
				<-tick.C
				fmt.Fprintf(stdin, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"x"}}`+"\n", i)
			}
			proctest.Wait(t, waitLimit, "a request to "+test.endpoint, func() bool {
				return c.server.Counts()[test.endpoint] > 0
			})
			stdin.Close()
			c.wait(cmd)
			counts := c.server.Counts()
			if n := counts[test.endpoint]; n > test.most || n == 0 {
				t.Errorf("%d requests to %s, want 1 to %d: %v", n, test.endpoint, test.most, counts)
			}
			for endpoint, n := range counts {
				if endpoint != "mcp" && n > 6 || n > calls+8 {
					t.Errorf("%d requests to %s: %v", n, endpoint, counts)
				}
			}
		})
	}
}
