package handstamp_test

import (
	"context"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// keep is an OnRegister that gives the registration back to later sessions, as
// an application does that has a place of its own for it.
func keep(r **handstamp.Registration) func(context.Context, handstamp.Registration) error {
	return func(_ context.Context, given handstamp.Registration) error {
		given.Response = ""
		*r = &given
		return nil
	}
}

// asRequests counts what went to the authorization server but the browser's.
func (w *world) asRequests() int {
	counts := w.lab.Counts()
	return counts["resource_metadata"] + counts["server_metadata"] + counts["register"] +
		counts["token:code"] + counts["token:refresh"] + counts["token"] + counts["authorize:preflight"] + counts["other"]
}

func TestFirstLoginCostsSixRequests(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.wantCounts(map[string]int{"mcp": 2, "resource_metadata": 1, "server_metadata": 1, "register": 1, "token:code": 1})
	w.wantTabs(1)
	if n := w.asRequests() + w.lab.Counts()["mcp"]; n != 6 {
		t.Errorf("%d requests, want 6\n%s", n, w.diary())
	}
}

func TestLaterSessionsWalkIn(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())

	t.Run("second session", func(t *testing.T) {
		w.lab.Reset()
		w.mustCall(w.session())
		if n := w.asRequests(); n != 0 {
			t.Errorf("%d requests to the authorization server, want 0\n%s", n, w.diary())
		}
	})
	t.Run("refused early", func(t *testing.T) {
		w.lab.RevokeAccessTokens()
		w.lab.Reset()
		w.mustCall(w.session())
		w.wantCounts(map[string]int{"mcp": 2, "token:refresh": 1})
		if n := w.asRequests(); n != 1 {
			t.Errorf("%d requests to the authorization server, want 1\n%s", n, w.diary())
		}
	})
	t.Run("grant gone", func(t *testing.T) {
		w.lab.RevokeFamilies()
		w.lab.Reset()
		w.mustCall(w.session())
		w.wantCounts(map[string]int{"register": 0, "token:code": 1})
	})
	t.Run("client forgotten", func(t *testing.T) {
		w.lab.ForgetClients()
		w.lab.RevokeAccessTokens()
		w.lab.Reset()
		w.mustCall(w.session())
		w.wantCounts(map[string]int{"register": 1, "token:code": 1})
	})
	w.wantTabs(3)
}

func TestExpiredTokenCostsOneRequest(t *testing.T) {
	w := newWorld(t, lab.Habits{AccessTokenLifetime: time.Second})
	c := w.session()
	w.mustCall(c)
	status, err := c.Status(context.Background(), w.lab.MCPURL())
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(status.ExpiresAt)) // the clock is what is tested
	w.lab.Reset()
	w.mustCall(w.session())
	w.wantCounts(map[string]int{"mcp": 1, "token:refresh": 1})
	if n := w.asRequests(); n != 1 {
		t.Errorf("%d requests to the authorization server, want 1\n%s", n, w.diary())
	}
	w.wantTabs(1)
}
