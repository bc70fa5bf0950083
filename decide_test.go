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

// What a record means for a need, row by row. Each row changes one thing of a record with a token
// for an hour, issued a minute ago.
func TestDecide(t *testing.T) {
	now := time.Now()
	const issuer = "https://as.example"
	rejected := rejectedClient{issuer: issuer, endpoint: issuer + "/token", id: "c", method: oauth.MethodNone}
	cooldown := record.Cooldown{
		ID: "x", Fingerprint: rejected.fingerprint("x"), Kind: "client_rejected", Until: now.Add(time.Minute),
	}
	due := func(r *record.Record) {
		r.Grant.ObtainedAt, r.Grant.ExpiresAt = now.Add(-time.Hour), now.Add(30*time.Second)
	}
	expired := func(r *record.Record) { r.Grant.ExpiresAt = now.Add(-time.Second) }
	both := func(changes ...func(*record.Record)) func(*record.Record) {
		return func(r *record.Record) {
			for _, change := range changes {
				change(r)
			}
		}
	}
	retry := func(in time.Duration, failures int) func(*record.Record) {
		return func(r *record.Record) { r.Retry = &record.Retry{NotBefore: now.Add(in), Failures: failures} }
	}
	interrupted := func(intent record.Intent) func(*record.Record) {
		return func(r *record.Record) {
			intent.ID, intent.Fingerprint = "i", fingerprint("i", r.Grant.RefreshToken)
			r.Intent = &intent
		}
	}
	for _, test := range []struct {
		name   string
		change func(*record.Record)
		need   tokenNeed
		cfg    *Registration // of the configuration
		want   action
	}{
		{name: "a good token", want: useStored},
		{name: "no grant", change: func(r *record.Record) { r.Grant = nil }, want: loginNeeded},
		{name: "expired", change: expired, want: requestToken},
		{name: "close to its expiry", change: due, want: requestToken},
		{name: "close to its expiry, without a refresh token", want: useStored,
			change: both(due, func(r *record.Record) { r.Grant.RefreshToken = "" })},
		{name: "close to its expiry, of a client that was rejected", want: useStored,
			change: both(due, func(r *record.Record) { r.Clients[0].Rejected = true })},
		{name: "of unknown expiry", change: func(r *record.Record) { r.Grant.ExpiresAt = time.Time{} }, want: useStored},
		{name: "not valid for long enough", need: tokenNeed{minTTL: 2 * time.Hour}, want: requestToken},
		{name: "not valid for long enough, without a refresh token", need: tokenNeed{minTTL: 2 * time.Hour}, want: loginNeeded,
			change: func(r *record.Record) { r.Grant.RefreshToken = "" }},
		{name: "rejected by the server", need: tokenNeed{rejected: "a"}, want: requestToken},
		{name: "another one rejected", need: tokenNeed{rejected: "b"}, want: useStored},
		{name: "disowned by the caller", need: tokenNeed{force: "a"}, want: requestToken},
		{name: "recorded as rejected", change: func(r *record.Record) { r.Grant.Rejected = true }, want: requestToken},
		{name: "expired, without a refresh token", want: loginNeeded,
			change: both(expired, func(r *record.Record) { r.Grant.RefreshToken = "" })},
		{name: "expired, of a client that was rejected", want: loginNeeded,
			change: both(expired, func(r *record.Record) { r.Clients[0].Rejected = true })},
		{name: "expired, of a client that is not stored", want: loginNeeded,
			change: both(expired, func(r *record.Record) { r.Clients = nil })},
		{name: "expired, of a client whose secret has ended", want: loginNeeded,
			change: both(expired, func(r *record.Record) {
				c := r.Clients[0]
				c.Method, c.Secret, c.SecretExpiresAt = oauth.MethodPost, "s", now.Add(-time.Second)
			})},
		{name: "expired, of a client that is configured with a new secret", want: requestToken,
			cfg: &Registration{ClientID: "c", ClientSecret: "s2"},
			change: both(expired, func(r *record.Record) {
				c := r.Clients[0]
				c.Method, c.Secret, c.SecretExpiresAt = oauth.MethodPost, "s", now.Add(-time.Second)
			})},
		{name: "expired, of a client that is configured for another issuer", want: loginNeeded,
			cfg:    &Registration{ClientID: "c", Issuer: "https://other.example"},
			change: both(expired, func(r *record.Record) { r.Clients[0].Source = record.SourceConfigured })},
		{name: "expired, the refresh token only kept", want: loginNeeded,
			change: both(expired, func(r *record.Record) { r.GrantError = &record.GrantError{Guessed: true} })},
		{name: "expired, the server failed", change: both(expired, retry(time.Minute, 2)), want: awaitRetry},
		{name: "expired, the server failed, a user waits", change: both(expired, retry(time.Minute, 2)), need: tokenNeed{user: true}, want: requestToken},
		{name: "expired, the pause is over", change: both(expired, retry(-time.Second, 2)), want: requestToken},
		{name: "expired, a pause that no server can have named", change: both(expired, retry(1000*time.Hour, 2)), want: requestToken},
		{name: "rejected early, and the token is good", change: both(due, retry(time.Hour, 0)), want: useStored},
		{name: "rejected early, and the token does not work", change: retry(time.Hour, 0), need: tokenNeed{rejected: "a"}, want: requestToken},
		{name: "close to its expiry, the server failed", want: useStored,
			change: both(due, retry(time.Minute, 1))},
		{name: "expired, the client in its cooldown", want: awaitCooldown,
			change: both(expired, func(r *record.Record) { r.Cooldowns = []record.Cooldown{cooldown} })},
		{name: "expired, another client in its cooldown", want: requestToken,
			change: both(expired, func(r *record.Record) {
				other := cooldown
				other.Fingerprint = "other"
				r.Cooldowns = []record.Cooldown{other}
			})},
		{name: "expired, the cooldown over", want: requestToken,
			change: both(expired, func(r *record.Record) {
				over := cooldown
				over.Until = now
				r.Cooldowns = []record.Cooldown{over}
			})},
		{name: "interrupted a moment ago", change: interrupted(record.Intent{At: now}), want: requestToken},
		{name: "interrupted long ago", change: interrupted(record.Intent{At: now.Add(-time.Hour)}), want: useStored},
		{name: "interrupted after its response", want: requestToken,
			change: interrupted(record.Intent{At: now.Add(-time.Hour), Sent: true, Response: &record.RawResponse{}})},
		{name: "interrupted, the server failed since", want: requestToken,
			change: both(interrupted(record.Intent{At: now}), retry(time.Minute, 1))},
	} {
		t.Run(test.name, func(t *testing.T) {
			rec := &record.Record{
				Clients: []*record.Client{{Issuer: issuer, ID: "c", Method: oauth.MethodNone}},
				Grant: &record.Grant{
					Issuer: issuer, TokenEndpoint: issuer + "/token", ClientID: "c", AccessToken: "a", RefreshToken: "r",
					ObtainedAt: now.Add(-time.Minute), ExpiresAt: now.Add(time.Hour),
				},
			}
			if test.change != nil {
				test.change(rec)
			}
			got := decide(rec, test.need, &configuration{Registration: test.cfg}, now)
			if got.action != test.want {
				t.Errorf("decided %d, want %d", got.action, test.want)
			}
			if (got.cooldown != nil) != (test.want == awaitCooldown) {
				t.Errorf("with the cooldown %v", got.cooldown)
			}
		})
	}
}
