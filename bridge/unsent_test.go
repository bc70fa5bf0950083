package bridge_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// TestRequestThatNeverLeftSaysSoWhenInputEnds has standard input end, or another session begin,
// while requests wait for the user to sign in or for a server that is away: they were not
// carried out, and the error names what is missing.
func TestRequestThatNeverLeftSaysSoWhenInputEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		login bool // the user has to sign in
		again bool // the host begins another session instead
		code  string
	}{
		"sign-in":                  {true, false, "-31002"},
		"sign-in, another session": {true, true, "-31002"},
		"away":                     {false, false, "-31001"},
		"away, another session":    {false, true, "-31001"},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				user := new(bridge.User)
				d := newDoor(user)
				h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
					if tt.login {
						return d.RoundTrip(r)
					}
					takes(r, time.Hour)
					return nil, r.Context().Err()
				}), func(o *bridge.Options) { o.User, o.Explain = user, explainDoor })
				h.hello()
				h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"real"}}`,
					`[{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"real"}}]`)
				<-time.After(time.Second)
				if tt.again {
					h.helloAgain("3")
				} else {
					h.in.Close()
				}
				for _, id := range []string{"1", "2"} {
					got := h.response(id)
					if get(t, got, "error", "code") != tt.code || strings.Contains(got, "may have been") {
						t.Errorf("got %s", got)
					}
				}
			})
		})
	}
}

// TestListsChangeOnceAfterALogin has a server respond to initialize a moment after the user has
// signed in: the host is notified once that the tools have changed. Where the server takes long, it
// is notified that the sign-in placeholder has ended.
func TestListsChangeOnceAfterALogin(t *testing.T) {
	for _, takesLong := range []bool{false, true} {
		inMemory(t, func(t *testing.T) {
			s := waking()
			user := new(bridge.User)
			d := newDoor(user)
			d.next = memory(func(w http.ResponseWriter, r *http.Request) {
				if takesLong {
					takes(r, time.Minute)
				} else {
					takes(r, 10*time.Millisecond)
				}
				s.ServeHTTP(w, r)
			})
			h := startInMemory(t, d, func(o *bridge.Options) { o.User, o.Explain = user, explainDoor })
			h.hello()
			<-time.After(time.Second)
			before := len(h.all())
			close(d.opened)
			<-time.After(20 * time.Second)
			if n := strings.Count(strings.Join(h.all()[before:], "\n"), "tools/list_changed"); n != 1 {
				t.Errorf("slow %t: the host got %d notifications: %q", takesLong, n, h.all()[before:])
			}
		})
	}
}
