package handstamp

import (
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/record"
)

// When a worker looks at a record, by what is in it.
func TestSchedule(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		change func(*record.Record)
		want   time.Duration // from now; 0: never
	}{
		"an hour's token":                        {func(*record.Record) {}, 55 * time.Minute},
		"a minute's token":                       {func(r *record.Record) { r.Grant.ExpiresAt = now.Add(time.Minute) }, 45 * time.Second},
		"an expired token":                       {func(r *record.Record) { r.Grant.ExpiresAt = now }, -time.Second},
		"no expiry":                              {func(r *record.Record) { r.Grant.ExpiresAt = time.Time{} }, 0},
		"no refresh token":                       {func(r *record.Record) { r.Grant.RefreshToken = "" }, 0},
		"no login":                               {func(r *record.Record) { r.Grant = nil }, 0},
		"an ended login":                         {func(r *record.Record) { r.GrantError = &record.GrantError{Code: "invalid_grant"} }, 0},
		"a client that the server has forgotten": {func(r *record.Record) { r.Clients[0].Rejected = true }, 0},
		"a refresh under way": {func(r *record.Record) {
			r.Intent = &record.Intent{ID: "i", At: now, Fingerprint: fingerprint("i", r.Grant.RefreshToken)}
		}, requestTimeout},
		"an interrupted refresh": {func(r *record.Record) {
			r.Intent = &record.Intent{ID: "i", At: now.Add(-time.Hour), Fingerprint: fingerprint("i", r.Grant.RefreshToken)}
		}, -time.Second},
		"an interrupted refresh that could not be requested since": {func(r *record.Record) {
			r.Grant.ExpiresAt = now
			r.Intent = &record.Intent{ID: "i", At: now.Add(-time.Hour), Fingerprint: fingerprint("i", r.Grant.RefreshToken)}
			r.Retry = &record.Retry{Failures: 2}
		}, time.Minute},
		"a refresh under way that could not be requested before": {func(r *record.Record) {
			r.Intent = &record.Intent{ID: "i", At: now, Fingerprint: fingerprint("i", r.Grant.RefreshToken)}
			r.Retry = &record.Retry{Failures: 50}
		}, requestTimeout},
		"a refresh of another token under way": {func(r *record.Record) {
			r.Intent = &record.Intent{ID: "i", At: now, Fingerprint: fingerprint("i", "another")}
		}, 55 * time.Minute},
		"a server that named a time": {func(r *record.Record) {
			r.Grant.ExpiresAt = now
			r.Retry = &record.Retry{NotBefore: now.Add(7 * time.Minute), Failures: 1}
		}, 7 * time.Minute},
		"a server that goes on failing": {func(r *record.Record) {
			r.Grant.ExpiresAt = now
			r.Retry = &record.Retry{NotBefore: now.Add(time.Second), Failures: 5}
		}, 4 * time.Minute},
		"a server that has failed for days": {func(r *record.Record) {
			r.Grant.ExpiresAt = now
			r.Retry = &record.Retry{NotBefore: now.Add(time.Second), Failures: 500}
		}, time.Hour},
		"a request that could not be made": {func(r *record.Record) {
			r.Grant.ExpiresAt = now
			r.Retry = &record.Retry{Failures: 1}
		}, 30 * time.Second},
		"requests that could not be made": {func(r *record.Record) {
			r.Grant.ExpiresAt = now
			r.Retry = &record.Retry{Failures: 4}
		}, 4 * time.Minute},
		"a request that could not be made, long before the expiry": {func(r *record.Record) {
			r.Retry = &record.Retry{Failures: 1}
		}, 55 * time.Minute},
		"a rejection for being early": {func(r *record.Record) {
			r.Grant.ExpiresAt = now.Add(3 * time.Minute)
			r.Retry = &record.Retry{NotBefore: r.Grant.ExpiresAt}
		}, 3 * time.Minute},
	} {
		rec := &record.Record{
			Clients: []*record.Client{{Issuer: "https://as.example", ID: "c"}},
			Grant: &record.Grant{
				Issuer: "https://as.example", ClientID: "c", AccessToken: "a", RefreshToken: "r",
				ObtainedAt: now, ExpiresAt: now.Add(time.Hour),
			},
		}
		test.change(rec)
		got := (&configuration{}).schedule(rec)
		switch {
		case test.want == 0 && !got.Due.IsZero():
			t.Errorf("%s: due in %v, want never", name, got.Due.Sub(now))
		case test.want < 0 && (got.Due.IsZero() || got.Due.After(now)):
			t.Errorf("%s: due in %v, want now", name, got.Due.Sub(now))
		case test.want > 0 && got.Due.Sub(now).Round(time.Second) != test.want:
			t.Errorf("%s: due in %v, want %v", name, got.Due.Sub(now), test.want)
		case !got.Due.IsZero() && got.Group != "https://as.example":
			t.Errorf("%s: group %q", name, got.Group)
		}
	}
	// A worker is earlier than any request, of whatever jitter.
	for _, life := range []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 24 * time.Hour} {
		g := &record.Grant{RefreshToken: "r", ObtainedAt: now, ExpiresAt: now.Add(life)}
		if at := aheadTime(true, g.ObtainedAt, g.ExpiresAt); !at.Before(refreshTime(g, 1)) {
			t.Errorf("of a token of %v: due at %v, and a request refreshes at %v", life, at.Sub(now), refreshTime(g, 1).Sub(now))
		}
	}
}
