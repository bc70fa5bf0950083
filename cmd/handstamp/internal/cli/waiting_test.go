package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
)

// Who waits for another process's login sees where to continue.
func TestShowWaiting(t *testing.T) {
	known := handstamp.AuthorizationRequest{ServerURL: "https://mcp.linear.app/mcp", Issuer: "https://linear.app", URL: "https://linear.app/authorize?a=b"}
	for _, test := range []struct {
		name   string
		global globalOptions
		r      handstamp.AuthorizationRequest
		want   string
	}{
		{"not known yet", globalOptions{}, handstamp.AuthorizationRequest{}, "- Another process is signing in to linear; waiting for it\n"},
		{"known", globalOptions{}, known,
			"- Another process is waiting for you to sign in to linear at https://linear.app. To continue, open this URL:\n\n  https://linear.app/authorize?a=b\n\n"},
		{"quiet", globalOptions{quiet: true}, known, ""},
		{"JSON, not known yet", globalOptions{json: true}, handstamp.AuthorizationRequest{}, ""},
		{"JSON", globalOptions{json: true}, known,
			`{"waiting":{"authorization_url":"https://linear.app/authorize?a=b","issuer":"https://linear.app","server":"https://mcp.linear.app/mcp"}}` + "\n"},
	} {
		var out bytes.Buffer
		a := newApp(Process{Stderr: &out})
		a.global = test.global
		target := testTarget()
		target.name = "linear"
		a.showWaiting(target, test.r)
		if got := out.String(); got != test.want {
			t.Errorf("%s: %s", test.name, strings.TrimSpace(got))
		}
	}
}
