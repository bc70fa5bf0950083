package hosted_test

import (
	"errors"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// A user who makes an error about the client up does not have the client of all users replaced.
func TestForgedErrorKeepsTheClient(t *testing.T) {
	server := newServer(t, lab.Habits{})
	app := newApp(new(store.MemoryDatabase))
	mustSignIn(t, server, app, app, store.Owner{User: "ada"})
	for _, code := range []string{"invalid_client", "unauthorized_client"} {
		state := stateOf(t, begin(t, app, store.Owner{User: "eve"}, server.MCPURL(), "s"))
		forged := callbackURL + "?error=" + code + "&iss=" + server.Issuer() + "&state=" + state
		resp := get(app.Callback(sessionOf, nil), forged, "s")
		if resp.StatusCode < 400 {
			t.Errorf("%s: status %d to %s", code, resp.StatusCode, resp.Header.Get("Location"))
		}
		state = stateOf(t, begin(t, app, store.Owner{User: "eve"}, server.MCPURL(), "s"))
		forged = callbackURL + "?error=" + code + "&iss=" + server.Issuer() + "&state=" + state
		_, outcome := callBack(t, app, forged, "s")
		var e *handstamp.Error
		if !errors.As(outcome.Err, &e) || e.Code != code {
			t.Errorf("%s: %v", code, outcome.Err)
		}
	}
	mustSignIn(t, server, app, app, store.Owner{User: "ben"})
	if n := server.Counts()["register"]; n != 1 {
		t.Errorf("%d registrations", n)
	}
}
