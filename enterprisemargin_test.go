package handstamp

import (
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/jose"
)

// An id token that lives less than the margin is exchanged in the first half of its life.
func TestIDTokensThatAreExchanged(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		issued, expires time.Duration // from now; 0 is a claim that is not there
		want            bool
	}{
		"an hour":                    {-time.Minute, time.Hour, true},
		"20 seconds, just issued":    {-time.Second, 19 * time.Second, true},
		"20 seconds, half over":      {-11 * time.Second, 9 * time.Second, false},
		"an hour, all but over":      {-time.Hour, 20 * time.Second, false},
		"without an expiry":          {-time.Hour, 0, true},
		"without a date, soon over":  {0, 20 * time.Second, false},
		"expired":                    {-time.Hour, -time.Second, false},
		"issued by a clock ahead":    {time.Minute, time.Hour, true},
		"expires before it is valid": {time.Hour, time.Minute, true},
	} {
		claims := jose.Claims{}
		if test.issued != 0 {
			claims.IssuedAt = now.Add(test.issued)
		}
		if test.expires != 0 {
			claims.Expiry = now.Add(test.expires)
		}
		if got := exchangeable(claims, now); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
