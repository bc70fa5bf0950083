package cli

import (
	"fmt"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// A scene is one session of the demo: what happens before it, and what it may cost.
type scene struct {
	name      string
	stored    string // what the session finds
	processes int
	before    func(*stage) error // nil: nothing
	visible   bool               // a user takes part, and has to see the prompts
	want      cost
}

// cost is how many requests a session made, by endpoint of the authorization server.
type cost map[string]int

// scenes returns the sessions of the demo, in their order.
func scenes(realBrowser bool) []scene {
	login := cost{"server_metadata": 1, "register": 1, "authorize": 1, "token:code": 1}
	expire := func(s *stage) error { return s.age(2 * time.Hour) }
	revoke := func(s *stage) error {
		s.server.RevokeAccessTokens()
		return nil
	}
	crowd := func(s *stage) error {
		// The next refresh is delayed, so that the processes start before it is over.
		s.server.SetFault("token:refresh",
			lab.Fault{Kind: lab.FaultDelay, Delay: 500 * time.Millisecond, Times: 1})
		return s.age(2 * time.Hour)
	}
	refresh := cost{"token:refresh": 1}
	return []scene{
		{name: "first login", stored: "nothing", processes: 1, visible: realBrowser, want: login},
		{name: "second session", stored: "valid token", processes: 1},
		{name: "two hours later", stored: "expired token", processes: 1, before: expire, want: refresh},
		{name: "rejected early", stored: "revoked token", processes: 1, before: revoke, want: refresh},
		{name: "eight at once", stored: "expired token", processes: 8, before: crowd, want: refresh},
	}
}

// check compares a session's cost with what it may be.
func (c cost) check(want cost) []string {
	var failures []string
	for _, f := range []struct{ endpoint, what string }{
		{"server_metadata", "server metadata"},
		{"register", "registration"},
		{"authorize", "browser openings"},
		{"token:code", "code exchange"},
		{"token:refresh", "refresh"},
	} {
		if got := c[f.endpoint]; got != want[f.endpoint] {
			failures = append(failures,
				fmt.Sprintf("%s: %d requests instead of %d", f.what, got, want[f.endpoint]))
		}
	}
	return failures
}
