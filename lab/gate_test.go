package lab_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// TestHold kills a client at each station of a refresh and looks whether the
// token was used.
func TestHold(t *testing.T) {
	for _, point := range []string{"token:received", "token:committed", "token:refresh:committed"} {
		c := start(t, lab.Habits{})
		token := c.login(nil).text("refresh_token")
		gate := c.server.Hold(point)
		ctx, kill := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := c.try(c.refreshRequest(token).WithContext(ctx))
			failed <- err
		}()
		held, err := gate.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if held.Endpoint != "token:refresh" || held.Refresh != lab.Fingerprint(token) || held.Status != 0 {
			t.Errorf("%s: holds %v", point, held)
		}
		kill()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", point, err)
		}
		responded := c.server.Hold("token:responded")
		gate.Release()
		gate.Release()
		// The server carries out the request, although no client waits for the response.
		if _, err := responded.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		responded.Release()
		c.refresh(token, nil).is(t, http.StatusBadRequest, "invalid_grant")
	}
}

// TestHoldOthers lets pass what the gate is not for.
func TestHoldOthers(t *testing.T) {
	c := start(t, lab.Habits{})
	gate := c.server.Hold("token:refresh:received")
	defer gate.Release()
	c.login(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := gate.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v %v at the gate", r, err)
	}
}

// TestHook sees the stations of a request in their order.
func TestHook(t *testing.T) {
	var mu sync.Mutex
	var points []string
	var server *lab.Server
	last := make(chan struct{})
	c := startWith(t, lab.Habits{}, lab.Options{Hook: func(e lab.Event) {
		mu.Lock()
		defer mu.Unlock()
		points = append(points, e.Point)
		server.Counts() // no lock is held
		if e.Point == "token:responded" {
			if e.Request.Status != http.StatusOK || e.Request.Endpoint != "token:code" {
				t.Errorf("responded %v", e.Request)
			}
			close(last)
		}
	}})
	mu.Lock()
	server = c.server
	mu.Unlock()
	c.login(nil)
	<-last
	mu.Lock()
	defer mu.Unlock()
	tokens := slices.DeleteFunc(points, func(p string) bool { return p[:5] != "token" })
	if want := []string{"token:received", "token:committed", "token:responded"}; !slices.Equal(tokens, want) {
		t.Errorf("%v", tokens)
	}
}
