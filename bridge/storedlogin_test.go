package bridge_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// TestPlaceholderLeavesTheServerAlone leaves a host with the sign-in placeholder for half an
// hour, while the server rejects all that is tried. The clock is not the machine's.
func TestPlaceholderLeavesTheServerAlone(t *testing.T) {
	const long = 30 * time.Minute
	for _, tt := range []struct {
		name     string
		trouble  bridge.Trouble
		signedIn bool  // as far as is known on this machine
		most     int32 // requests in that time
	}{
		{"a login is needed, and there is none", bridge.Trouble{Code: bridge.CodeSignIn, Reason: "auth_required"}, false, 1},
		{"the stored login looks good, but is rejected", bridge.Trouble{Code: bridge.CodeSignIn, Reason: "auth_required"}, true, 12},
		{"the server wants an hour", bridge.Trouble{Code: bridge.CodeUnreachable, Retry: true, RetryAfter: time.Hour}, true, 6},
		{"the server cannot be reached", bridge.Trouble{Code: bridge.CodeUnreachable, Retry: true}, false, 70},
		{"a protocol error", bridge.Trouble{Code: bridge.CodeProtocol, Reason: "protocol"}, true, 1},
		{"a rejected client", bridge.Trouble{Code: bridge.CodeSignIn, Reason: "client_rejected"}, true, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tries atomic.Int32
				user := new(bridge.User)
				h := start(t, bridge.Options{
					URL: "https://mcp.example/mcp", Wire: bridge.WireHTTP, User: user, Logger: logger(t),
					HTTP: &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
						tries.Add(1)
						user.Await("Open https://as.example/authorize.")
						defer user.Done()
						time.Sleep(time.Second) // what the rejection takes; the clock is the test's
						return nil, &tt.trouble
					})},
					SignedIn: func(context.Context) bool { return tt.signedIn },
				})
				h.send(initialize)
				if got := h.response("1"); get(t, got, "result", "serverInfo") == "" {
					t.Fatalf("initialize: %s", got)
				}
				h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
				time.Sleep(long)
				synctest.Wait()
				if n := tries.Load(); n > tt.most || n < 1 {
					t.Errorf("%d requests in %v, want %d at most", n, long, tt.most)
				}
			})
		})
	}
}

// TestLoginDoneElsewhereIsNoticed checks what the pauses must not cost: a login that another
// process has done is noticed within seconds, however often the server rejected before.
func TestLoginDoneElsewhereIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signedIn atomic.Bool
		var tries atomic.Int32
		user := new(bridge.User)
		h := start(t, bridge.Options{
			URL: "https://mcp.example/mcp", Wire: bridge.WireHTTP, User: user, Logger: logger(t),
			HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				tries.Add(1)
				user.Await("Open https://as.example/authorize.")
				defer user.Done()
				return nil, &bridge.Trouble{Code: bridge.CodeSignIn, Reason: "auth_required"}
			})},
			SignedIn: func(context.Context) bool { return signedIn.Load() },
		})
		h.send(initialize)
		h.response("1")
		time.Sleep(20 * time.Minute)
		for range 3 {
			synctest.Wait()
			before := tries.Load()
			signedIn.Store(true)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if tries.Load() == before {
				t.Error("a login done elsewhere was not noticed")
			}
			signedIn.Store(false)
			time.Sleep(10 * time.Minute)
		}
	})
}
