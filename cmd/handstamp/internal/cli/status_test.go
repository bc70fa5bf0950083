package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
)

func TestWriteEntry(t *testing.T) {
	now := time.Now()
	base := handstamp.Status{
		Server: "https://mcp.linear.app/mcp", Profile: "work", State: handstamp.StateValid, Refreshable: true,
		Issuer: "https://mcp.linear.app", ClientID: "c", ClientSource: "dynamic",
		Method: "client_secret_post", MethodReason: "from the registration", ExpiresAt: now.Add(42*time.Minute + 10*time.Second),
	}
	const client = "  - Client: dynamic, client_secret_post (from the registration)   Issuer: https://mcp.linear.app\n"
	const run = "  - Run: handstamp login linear --profile work\n"
	for _, test := range []struct {
		name   string
		change func(*handstamp.Status)
		want   string
		code   int
	}{{
		name:   "valid",
		change: func(*handstamp.Status) {},
		want:   "  ✓ Signed in (profile work, file store)\n  - Access token: 42 min left, refreshed automatically\n" + client,
	}, {
		name:   "valid, without a refresh token",
		change: func(s *handstamp.Status) { s.Refreshable = false },
		want:   "  ✓ Signed in (profile work, file store)\n  - Access token: 42 min left, then a new login is needed\n" + client,
	}, {
		name:   "no expiry",
		change: func(s *handstamp.Status) { s.State, s.ExpiresAt = handstamp.StateNoExpiry, time.Time{} },
		want:   "  ✓ Signed in (profile work, file store)\n  - Access token: the server gave no expiry; refreshed when the server rejects it\n" + client,
	}, {
		name: "stale, and the server is down",
		change: func(s *handstamp.Status) {
			s.State, s.RetryAt, s.RetryReason = handstamp.StateRefreshable, now.Add(20*time.Second+500*time.Millisecond), "503"
		},
		want: "  ! Authorization server unreachable (503, trying again in 20 s); credential kept\n" +
			"  - Access token: expired, refreshed at its next use\n" + client,
		code: exitUnreachable,
	}, {
		name: "revoked",
		change: func(s *handstamp.Status) {
			*s = handstamp.Status{Server: s.Server, Profile: s.Profile, State: handstamp.StateRevoked,
				GrantError: &handstamp.GrantError{At: now.Add(-2 * time.Hour), Code: "invalid_grant", Description: "gone\x1b[2J"}}
		},
		want: "  X Signed out by the server 2 h ago (invalid_grant): gone\uFFFD[2J\n" + run,
		code: exitLogin,
	}, {
		name:   "expired",
		change: func(s *handstamp.Status) { s.State = handstamp.StateExpired },
		want:   "  X Signed in, but the access token has expired and cannot be refreshed (profile work)\n" + run + client,
		code:   exitLogin,
	}, {
		name: "none",
		change: func(s *handstamp.Status) {
			*s = handstamp.Status{Server: s.Server, Profile: s.Profile, State: handstamp.StateNone}
		},
		want: "  - Not signed in (profile work)\n" + run,
		code: exitLogin,
	}, {
		name: "corrupt",
		change: func(s *handstamp.Status) {
			*s = handstamp.Status{Server: s.Server, Profile: s.Profile, State: handstamp.StateCorrupt, Problem: "it is now elsewhere"}
		},
		want: "  X The stored credential is damaged (profile work): it is now elsewhere\n" + run,
		code: exitStore,
	}} {
		t.Run(test.name, func(t *testing.T) {
			s := base
			test.change(&s)
			e := &entry{Name: "linear", Status: &s, Store: "file store", target: testTarget()}
			var out bytes.Buffer
			a := newApp(Process{Stdout: &out})
			a.writeEntries([]*entry{e})
			if want := "linear   https://mcp.linear.app/mcp\n" + test.want; out.String() != want {
				t.Errorf("got\n%s\nwant\n%s", out.String(), want)
			}
			if got := e.code(); got != test.code {
				t.Errorf("code %d, want %d", got, test.code)
			}
		})
	}
}

func TestStatusCode(t *testing.T) {
	entryIn := func(s handstamp.State) *entry { return &entry{Status: &handstamp.Status{State: s}} }
	valid, none, corrupt := entryIn(handstamp.StateValid), entryIn(handstamp.StateNone), entryIn(handstamp.StateCorrupt)
	for _, test := range []struct {
		entries []*entry
		want    int
	}{
		{nil, exitLogin},
		{[]*entry{valid}, exitOK},
		{[]*entry{valid, none}, exitLogin},
		{[]*entry{none, corrupt, valid}, exitStore},
	} {
		if got := statusCode(test.entries); got != test.want {
			t.Errorf("%d, want %d", got, test.want)
		}
	}
}

func TestColours(t *testing.T) {
	for _, test := range []struct {
		color bool
		want  string
	}{
		{false, "  ✓ Signed in\n"},
		{true, "  \x1b[32m✓\x1b[0m Signed in\n"},
	} {
		var out bytes.Buffer
		p := &printer{w: &out, color: test.color}
		p.ok(indent, "Signed in")
		if out.String() != test.want {
			t.Errorf("got %q, want %q", out.String(), test.want)
		}
	}
}
