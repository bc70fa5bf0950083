package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestBoundTokensThroughTheCommand signs in with the command at servers that bind tokens to a
// key, and has the bridge present them: one process after the other, and many at once.
func TestBoundTokensThroughTheCommand(t *testing.T) {
	program := built(t)
	for _, s := range []setup{{DPoP: "required"}, {DPoP: "required", Nonces: true}} {
		t.Run(fmt.Sprintf("nonces %v", s.Nonces), func(t *testing.T) {
			t.Parallel()
			c := &command{program: program, home: filepath.Join(t.TempDir(), "home"),
				scene: newScene(t, func(t *testing.T, _ string) *authServer {
					as, _ := full(t, s)
					as.endsExpired = true // a bound token alone says nothing
					return as
				})}
			c.as.lifetime(short)
			if _, said := c.must(0, c.login()...); !strings.Contains(said, "refreshed automatically") {
				t.Errorf("login says:\n%s", said)
			}
			end := time.Now().Add(short)
			c.want("login", c.as.token, 1+c.as.extra)
			c.wantRegistered("login")
			c.as.lifetime(time.Hour)
			c.expire("", end)

			c.as.reset()
			var wait sync.WaitGroup
			for range crowd {
				wait.Go(func() {
					if err := c.bridge(); err != nil {
						t.Errorf("bridge, expired token: %v", err)
					}
				})
			}
			wait.Wait()
			c.want("many bridges, expired token", c.as.token, 1)
			c.want("many bridges, expired token", "", 1)

			c.as.reset()
			if err := c.bridge(); err != nil {
				t.Errorf("bridge: %v", err)
			}
			c.want("a bridge after that", "", 0)

			if _, said := c.must(0, "logout", c.mcp); !strings.Contains(said, "revoked") {
				t.Errorf("logout says:\n%s", said)
			}
			c.want("logout", "/token/revocation", 1)
		})
	}
}
