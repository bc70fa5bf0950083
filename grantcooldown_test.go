package handstamp_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
)

// A service whose client the server has forgotten sends one request, and its later sessions, which
// know the client from the store only, send none until the cooldown is over or a user logs in.
func TestForgottenMachineHasACooldown(t *testing.T) {
	for name, m := range machines(t) {
		t.Run(name, func(t *testing.T) {
			w := m.start(t)
			w.MustCall(m.session(w))
			w.Expire()
			w.Lab.ForgetClients()
			w.Lab.Reset()
			stored := w.Session()
			stored.Key = m.key
			for range 3 {
				if err := w.Call(stored); !errors.Is(err, handstamp.ErrClientRejected) {
					t.Fatalf("%v, want ErrClientRejected", err)
				}
			}
			var calls sync.WaitGroup
			for range 5 {
				another := w.Session()
				another.Key = m.key
				calls.Go(func() {
					if err := w.Call(another); !errors.Is(err, handstamp.ErrClientRejected) {
						t.Errorf("%v, want ErrClientRejected", err)
					}
				})
			}
			calls.Wait()
			w.WantCounts(map[string]int{"token:client_credentials": 1})
			w.WantTabs(0)
			if err := w.Login(stored); !errors.Is(err, handstamp.ErrClientRejected) {
				t.Errorf("a login: %v", err)
			}
			w.WantCounts(map[string]int{"token:client_credentials": 2})
		})
	}
}
