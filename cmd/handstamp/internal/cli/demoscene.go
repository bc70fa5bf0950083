package cli

import (
	"fmt"
	"time"
)

// hour is the life of the demo's access tokens.
const hour = time.Hour

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
type cost struct {
	metadata, register, authorize, code, refresh int
}

// costOf reads the lab's counts.
func costOf(counts map[string]int) cost {
	return cost{
		metadata: counts["server_metadata"], register: counts["register"], authorize: counts["authorize"],
		code: counts["token:code"], refresh: counts["token:refresh"],
	}
}

// scenes returns the sessions of the demo, in their order.
func scenes(realBrowser bool) []scene {
	login := cost{metadata: 1, register: 1, authorize: 1, code: 1}
	expire := func(s *stage) error { return s.age(2 * hour) }
	revoke := func(s *stage) error {
		s.server.RevokeAccessTokens()
		return nil
	}
	crowd := func(s *stage) error {
		s.slowRefresh()
		return s.age(2 * hour)
	}
	refresh := cost{refresh: 1}
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
	for _, f := range []struct {
		what      string
		got, want int
	}{
		{"server metadata", c.metadata, want.metadata},
		{"registration", c.register, want.register},
		{"browser openings", c.authorize, want.authorize},
		{"code exchange", c.code, want.code},
		{"refresh", c.refresh, want.refresh},
	} {
		if f.got != f.want {
			failures = append(failures, fmt.Sprintf("%s: %d requests instead of %d", f.what, f.got, f.want))
		}
	}
	return failures
}
