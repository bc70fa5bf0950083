package suite_test

import (
	"context"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/suite"
	"github.com/handstamp/handstamp/lab/suite/internal/mutant"
)

// TestPortLost gives the client's port to another party once its first session
// is over, which is no fault of the client's: it may register a second time, and
// is distinguished from one that never comes back to its port.
func TestPortLost(t *testing.T) {
	p, _ := lab.FindPersonality("exact-redirect")
	var thief atomic.Pointer[net.Listener]
	honest := client(mutant.None)
	thieving := &suite.Func{Name: "robbed", Run: func(ctx context.Context, s suite.Session) error {
		var address string
		mine := s
		mine.Open = func(authorization string) {
			if u, err := url.Parse(authorization); err == nil {
				if redirect, err := url.Parse(u.Query().Get("redirect_uri")); err == nil {
					address = redirect.Host
				}
			}
			s.Open(authorization)
		}
		err := honest.Session(ctx, mine)
		if address != "" && thief.Load() == nil {
			listener, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			thief.Store(&listener)
		}
		return err
	}}
	report, err := suite.Run(t.Context(), suite.Options{
		Client: thieving, Personalities: []lab.Personality{p}, Conditions: []suite.Condition{suite.GrantRevoked},
		Processes: []int{1}, Dir: t.TempDir(),
	})
	if l := thief.Load(); l != nil {
		(*l).Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if cell := report.Cells[0]; !cell.Passed() || cell.Later.Registrations != 1 {
		t.Errorf("%d registrations: %q", cell.Later.Registrations, cell.Failures)
	}
}
