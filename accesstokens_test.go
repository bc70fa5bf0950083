package handstamp

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// A snapshot that is in constant use is stale on time, in a process whose
// clock is another than the one it was loaded with, too.
func TestSnapshotGetsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		snap := &cachedToken{refreshAt: start.Add(10 * time.Second)}
		for time.Since(start) < 20*time.Second {
			if want := time.Since(start) < 10*time.Second; snap.fresh() != want {
				t.Fatalf("after %v fresh is %t", time.Since(start), !want)
			}
			time.Sleep(busyInterval / 2) // the bubble's
		}
		if late := (&cachedToken{refreshAt: time.Now()}); late.fresh() {
			t.Error("a snapshot past its time is fresh")
		}
		if (&cachedToken{}).fresh() != true {
			t.Error("a token of unknown expiry is not used")
		}
		var none *cachedToken
		if none.fresh() {
			t.Error("no snapshot is fresh")
		}
	})
}

// Only a token that is used again and again has a timer in place of the clock.
func TestTokenThatIsUsedNowAndThenHasNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		snap := &cachedToken{refreshAt: time.Now().Add(time.Hour)}
		for range 10 {
			if !snap.fresh() {
				t.Fatal("the token is not fresh")
			}
			if snap.checkedLately.Load() {
				t.Fatal("a use that is the first for a while starts a timer")
			}
			time.Sleep(busyInterval) // the bubble's
		}
		for range 2 {
			if !snap.fresh() {
				t.Fatal("the token is not fresh")
			}
		}
		if !snap.checkedLately.Load() {
			t.Error("the second use in a row has no timer")
		}
		time.Sleep(2 * clockCheckInterval) // the bubble's
		if snap.checkedLately.Load() {
			t.Error("the timer does not end")
		}
	})
}

// A token that is at hand costs no memory, whichever server it is for.
func TestTokenAtHandTakesNoMemory(t *testing.T) {
	c := &Client{}
	servers := []string{"https://mcp.example.com/mcp", "https://mcp.example.org/mcp"}
	for _, server := range servers {
		s, err := c.session(server)
		if err != nil {
			t.Fatal(err)
		}
		s.tokens.use(&record.Record{Grant: &record.Grant{
			AccessToken: secret.String("at " + server), ExpiresAt: time.Now().Add(time.Hour),
		}})
	}
	allocations := proctest.Allocations(100, func() {
		for _, server := range servers {
			token, err := c.Token(t.Context(), server, TokenOptions{})
			if err != nil || !strings.HasSuffix(token.Value.Reveal(), server) {
				t.Errorf("%s: %v, %v", server, token, err)
			}
		}
	})
	if allocations > 0 {
		t.Errorf("%.0f allocations", allocations)
	}
}
