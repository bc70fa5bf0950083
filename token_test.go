package handstamp_test

import (
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// Unknown expiry is unknown: the token is used until it is rejected.
func TestUnknownExpiry(t *testing.T) {
	for _, expires := range []string{lab.ExpiresOmitted, lab.ExpiresZero, lab.ExpiresString} {
		t.Run(expires, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{ExpiresIn: expires})
			w.MustCall(w.Session())
			w.Lab.Reset()
			w.MustCall(w.Session())
			w.WantCounts(map[string]int{"mcp": 1, "token:refresh": 0})
			w.Lab.RevokeAccessTokens()
			w.MustCall(w.Session())
			w.WantCounts(map[string]int{"token:refresh": 1})
			w.WantTabs(1)
		})
	}
}

// A token at hand that expires sooner than a caller needs is refreshed, and any other is not.
func TestMinTTLOfATokenAtHand(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	c := w.Session()
	w.MustCall(c)
	token := func(minTTL time.Duration) *handstamp.Token {
		t.Helper()
		token, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{MinTTL: minTTL})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	first := token(0)
	left := time.Until(first.ExpiresAt)
	w.Lab.Reset()
	for _, minTTL := range []time.Duration{0, left / 2, left - time.Minute} {
		if token(minTTL) != first {
			t.Errorf("another token for %v of %v", minTTL, left)
		}
	}
	w.WantCounts(map[string]int{"token:refresh": 0})
	if token(left+time.Minute).Value == first.Value {
		t.Error("the token that expires sooner is returned")
	}
	w.WantCounts(map[string]int{"token:refresh": 1})
}

// A token that several callers of a Client report as rejected is refreshed once, and one that nothing
// has replaced meanwhile is.
func TestTokenThatSeveralCallersReport(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	c := w.Session()
	w.MustLogin(c)
	token := func(o handstamp.TokenOptions) *handstamp.Token {
		t.Helper()
		token, err := c.Token(t.Context(), w.Lab.MCPURL(), o)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	rejected := token(handstamp.TokenOptions{}).Value
	w.Lab.Reset()
	refreshed := token(handstamp.TokenOptions{Rejected: rejected}).Value
	if refreshed == rejected || token(handstamp.TokenOptions{Rejected: rejected}).Value != refreshed {
		t.Error("the callers have different tokens, or the one that was rejected")
	}
	w.WantCounts(map[string]int{"token:refresh": 1})
	token(handstamp.TokenOptions{Rejected: refreshed, MinTTL: time.Second})
	token(handstamp.TokenOptions{Refresh: true})
	w.WantCounts(map[string]int{"token:refresh": 3})
}

// While another process refreshes ahead of time, and the authorization server hangs, a caller gets the
// token at hand if that is valid for as long as the caller needs.
func TestMinTTLBesideARefreshThatHangs(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		rec := w.Record()
		rec.Grant.ObtainedAt = time.Now().Add(-56 * time.Minute)
		rec.Grant.ExpiresAt = time.Now().Add(4 * time.Minute)
		w.Put(rec)
		c, other := w.Session(), w.Session()
		w.MustCall(c)
		gate := w.Lab.Hold("token:refresh:received")
		refreshed := make(chan error, 1)
		go func() {
			_, err := other.RefreshAhead(t.Context(), w.Lab.MCPURL())
			refreshed <- err
		}()
		if _, err := gate.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, minTTL := range []time.Duration{0, 10 * time.Second, time.Minute} {
			c.StoreChanged("")
			began := time.Now()
			token, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{MinTTL: minTTL})
			if took := time.Since(began); err != nil || token.Value != rec.Grant.AccessToken || took > 3*time.Second {
				t.Errorf("MinTTL %v: %v after %v", minTTL, err, took)
			}
		}
		time.AfterFunc(5*time.Second, gate.Release)
		token, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{MinTTL: 5 * time.Minute})
		if err != nil || token.Value == rec.Grant.AccessToken {
			t.Errorf("the token at hand was returned to a caller who needs another one (%v)", err)
		}
		if err := <-refreshed; err != nil {
			t.Error(err)
		}
	})
}

// A Token that no Client has issued cannot be put on a request.
func TestTokenWithoutClient(t *testing.T) {
	err := new(handstamp.Token).SetHeaders(secretRequest(t, "https://mcp.invalid/mcp"))
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
}
