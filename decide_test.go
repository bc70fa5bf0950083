package handstamp

import (
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// A renewal is due ahead of expiry by a tenth of the token's life, at most a
// minute, give or take a fifth of that.
func TestRefreshTime(t *testing.T) {
	at := time.Now().Round(0)
	for _, test := range []struct {
		name   string
		life   time.Duration
		jitter float64
		want   time.Duration // before expiry
	}{
		{"an hour, early", time.Hour, 1, 72 * time.Second},
		{"an hour", time.Hour, 0.5, time.Minute},
		{"an hour, late", time.Hour, 0, 48 * time.Second},
		{"a hundred seconds, early", 100 * time.Second, 1, 12 * time.Second},
		{"a hundred seconds, late", 100 * time.Second, 0, 8 * time.Second},
	} {
		g := &record.Grant{RefreshToken: "r", ObtainedAt: at, ExpiresAt: at.Add(test.life)}
		if got := g.ExpiresAt.Sub(refreshTime(g, test.jitter)); got != test.want {
			t.Errorf("%s: %v ahead, want %v", test.name, got, test.want)
		}
	}
	if got := refreshTime(&record.Grant{RefreshToken: "r", ObtainedAt: at}, 0.5); !got.IsZero() {
		t.Errorf("no expiry: %v", got)
	}
	if got := refreshTime(&record.Grant{ObtainedAt: at, ExpiresAt: at.Add(time.Hour)}, 1); !got.Equal(at.Add(time.Hour)) {
		t.Errorf("no refresh token: %v", got)
	}
}

// What a renewal's answer omits stays as it was.
func TestOmittedMembersStay(t *testing.T) {
	g := &record.Grant{AccessToken: "a", RefreshToken: "r", IDToken: "i", ScopeGranted: "read write", Rejected: true}
	applyToken(g, &oauth.TokenResponse{AccessToken: "a2"}, time.Now())
	if g.AccessToken != "a2" || g.RefreshToken != "r" || g.IDToken != "i" || g.ScopeGranted != "read write" || g.Rejected {
		t.Errorf("%+v", g)
	}
	applyToken(g, &oauth.TokenResponse{AccessToken: "a3", RefreshToken: "r3", IDToken: "i3", Scope: "read", ScopePresent: true}, time.Now())
	if g.RefreshToken != "r3" || g.IDToken != "i3" || g.ScopeGranted != "read" {
		t.Errorf("%+v", g)
	}
}

// A renewal that was cut off is repeated at once while the server may forgive it,
// and later only when the token is needed; one whose answer was saved is always
// finished.
func TestInterruptedRenewalIsUrgent(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name   string
		intent record.Intent
		urgent bool
	}{
		{"a moment ago", record.Intent{At: now.Add(-graceWindow / 2)}, true},
		{"long ago", record.Intent{At: now.Add(-2 * graceWindow)}, false},
		{"a moment ago, but repeated already", record.Intent{At: now, Sent: true}, false},
		{"long ago, with its answer", record.Intent{At: now.Add(-2 * graceWindow), Sent: true, Response: &record.RawResponse{}}, true},
	} {
		test.intent.ID, test.intent.Fingerprint = "x", fingerprint("x", "r")
		rec := &record.Record{
			Clients: []*record.Client{{Issuer: "https://as.example", ID: "c"}},
			Grant: &record.Grant{
				Issuer: "https://as.example", ClientID: "c", AccessToken: "a", RefreshToken: "r",
				ObtainedAt: now.Add(-time.Minute), ExpiresAt: now.Add(time.Hour),
			},
			Intent: &test.intent,
		}
		d := decide(rec, tokenNeed{}, new(configuration), now)
		if (d.action == requestToken) != test.urgent || (d.action == useStored) == test.urgent {
			t.Errorf("%s: %+v", test.name, d)
		}
	}
}
