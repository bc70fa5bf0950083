package handstamp_test

import (
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// personality is one of the lab's, by name.
func personality(t *testing.T, name string) lab.Habits {
	t.Helper()
	p, ok := lab.FindPersonality(name)
	if !ok {
		t.Fatalf("the lab has no %s", name)
	}
	return p.Habits
}

// A scope that was stepped up to is asked for at once by the next login.
func TestNextLoginAsksForTheWholeScope(t *testing.T) {
	w := newWorld(t, personality(t, "step-up"))
	w.mustCall(w.session())
	w.wantTabs(2)
	w.lab.RevokeFamilies()
	w.mustCall(w.session())
	w.wantTabs(3)
}

// A scope that the server did not grant is not asked for by every session.
func TestUngrantedScopeIsAskedForOnce(t *testing.T) {
	w := newWorld(t, personality(t, "step-up-never"))
	for range 3 {
		if err := w.call(w.session()); err == nil {
			t.Fatal("the call got through")
		}
		w.wantTabs(2)
	}
}

// Requests that follow a login which came back with the wrong issuer open no
// further tab; a person who asks for a login has one.
func TestDisbelievedLoginRests(t *testing.T) {
	w := newWorld(t, personality(t, "iss-wrong"))
	c := w.session()
	for range 3 {
		wantKind(t, w.call(c), handstamp.ErrProtocol)
		w.wantTabs(1)
	}
	_, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{})
	wantKind(t, err, handstamp.ErrProtocol)
	w.wantTabs(2)
}

// Many sessions come to a server that names another authorization server while
// the old one still renews: one signs in, and all get through.
func TestManySessionsAtAServerThatMoved(t *testing.T) {
	w := newWorld(t, personality(t, "issuer-moved"))
	w.mustCall(w.session())
	other, err := lab.Start(personality(t, "issuer-moved"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	processes.Watch(t, other)
	w.lab.ExpireAccessTokens()
	w.lab.MoveTo(other)
	var sessions sync.WaitGroup
	for range 20 {
		c := w.session()
		sessions.Go(func() {
			if err := w.call(c); err != nil {
				t.Error(err)
			}
		})
	}
	sessions.Wait()
	w.wantTabs(2)
}
