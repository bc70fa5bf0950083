package handstamp_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// The server ends a login whose access token looks good for another hour. Whoever
// forces a refresh says that the token does not work: the rejection is final, for them
// and for every other process.
func TestRejectedRefreshIsFinalWhereTheTokenDoesNotWork(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.lab.RevokeFamilies()
	forced := w.session()
	forced.LoginPolicy = handstamp.LoginNever
	_, err := forced.Token(t.Context(), w.lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
	wantKind(t, err, handstamp.ErrLoginRequired)
	if st, err := w.session().Status(t.Context(), w.lab.MCPURL()); err != nil || st.Usable() {
		t.Errorf("status %+v, %v", st, err)
	}
	quiet := w.session()
	quiet.LoginPolicy = handstamp.LoginNever
	if err := w.call(quiet); !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("error %v, want ErrLoginRequired", err)
	}
	w.mustCall(w.session())
	w.wantTabs(2)
	w.wantCounts(map[string]int{"register": 1})
}

// A refresh that we began ahead of the expiry is another matter: the server may mind
// only that it came so early, and the token goes on being used.
func TestRejectedRefreshAheadOfTheExpiryIsNotFinal(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	rec := w.record()
	rec.Grant.ObtainedAt, rec.Grant.ExpiresAt = time.Now().Add(-time.Hour), time.Now().Add(20*time.Second)
	w.put(rec)
	w.lab.Reset()
	w.lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusBadRequest,
		ContentType: "application/json", Body: `{"error":"invalid_grant"}`})
	for range 3 {
		w.mustCall(w.session())
	}
	w.wantCounts(map[string]int{"token:refresh": 1})
	st, err := w.session().Status(t.Context(), w.lab.MCPURL())
	if err != nil || st.State != handstamp.StateValid || st.RefreshRejected != "invalid_grant" {
		t.Errorf("status %+v, %v", st, err)
	}

	// A user who runs login does not hear that all is well.
	result, err := w.session().Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{})
	if err != nil || result.Already {
		t.Errorf("login: %+v, %v", result, err)
	}
	w.wantTabs(2)
}
