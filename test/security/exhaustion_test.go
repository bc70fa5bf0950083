package security_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// torments are responses without an end, in bytes or in time.
var torments = map[string]lab.Fault{
	"huge":      {Kind: lab.FaultHuge},
	"endless":   {Kind: lab.FaultEndless},
	"gzip bomb": {Kind: lab.FaultGzipBomb},
	"drip":      {Kind: lab.FaultDrip, Delay: 20 * time.Second},
	"hang":      {Kind: lab.FaultHang},
}

const (
	// mostRead bounds the bytes of all bodies that one operation reads: each of
	// a few requests may read a mebibyte.
	mostRead = 8 << 20

	// mostAllocated bounds the bytes that are allocated meanwhile by client and
	// server together. A bomb that was let off would take 64 MiB at least.
	mostAllocated = 48 << 20

	// longest bounds the time of an operation whose every request waits for
	// half a minute, twice over.
	longest = 4 * time.Minute
)

// bounded runs an operation and checks what it costs.
func bounded(t *testing.T, m *testenv.Meter, operation func() error) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read, began := m.Read.Load(), time.Now()
	err := operation()
	runtime.ReadMemStats(&after)
	if n := m.Read.Load() - read; n > mostRead {
		t.Errorf("%d bytes were read", n)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > mostAllocated {
		t.Errorf("%d bytes were allocated", n)
	}
	if d := time.Since(began); d > longest {
		t.Errorf("it took %v", d)
	}
	return err
}

// No response of an authorization server, at no endpoint, costs a login more than a
// bounded amount of memory and time.
func TestEndlessResponsesInLogin(t *testing.T) {
	for _, endpoint := range []string{"resource_metadata", "server_metadata", "register", "token:code"} {
		for name, torment := range torments {
			t.Run(endpoint+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, m := testenv.NewInMemory(t, lab.NoneFirst())
					w.Lab.SetFault(endpoint, torment)
					err := bounded(t, m, func() error { return w.Login(w.Session()) })
					var e *handstamp.Error
					if !errors.As(err, &e) {
						t.Fatalf("error %v, want one that callers can branch on", err)
					}
					status, err := w.Session().Status(t.Context(), w.Lab.MCPURL())
					if err != nil || status.State != handstamp.StateNone {
						t.Errorf("status %+v, %v", status, err)
					}
				})
			})
		}
	}
}

// Nor does it cost a refresh more, and the credential is kept.
func TestEndlessResponsesInRefresh(t *testing.T) {
	for name, torment := range torments {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, m := testenv.NewInMemory(t, lab.Habits{Rotation: lab.RotateNone})
				w.MustLogin(w.Session())
				w.Expire()
				before := w.Record()
				w.Lab.SetFault("token", torment)
				err := bounded(t, m, func() error { return w.Call(w.Session()) })
				testenv.WantKind(t, err, handstamp.ErrUnreachable)
				after := w.Record()
				if after.Grant == nil || after.Grant.RefreshToken != before.Grant.RefreshToken {
					t.Error("the refresh token was not kept")
				}
				w.WantTabs(1)

				w.Lab.SetFault("token")
				time.Sleep(time.Until(after.Retry.NotBefore)) // in the bubble
				w.MustCall(w.Session())
				w.WantTabs(1)
			})
		})
	}
}

// Signing out ends, whatever the server does.
func TestEndlessResponsesInLogout(t *testing.T) {
	for name, torment := range torments {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, m := testenv.NewInMemory(t, lab.Habits{ManageClients: true})
				c := w.Session()
				w.MustLogin(c)
				w.Lab.SetFault("revoke", torment)
				w.Lab.SetFault("registration", torment)
				err := bounded(t, m, func() error {
					result, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{DeleteClient: true})
					if err == nil && torment.Kind == lab.FaultHang && (result.Revoked || result.RevokeError == nil) {
						err = fmt.Errorf("a revocation without a response: %+v", result)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
				status, err := c.Status(t.Context(), w.Lab.MCPURL())
				if err != nil || status.State != handstamp.StateNone {
					t.Errorf("status %+v, %v", status, err)
				}
			})
		})
	}
}

// A rejected request's body is read to a bound, however long the server talks.
func TestEndlessRejection(t *testing.T) {
	for name, torment := range map[string]lab.Fault{"huge": {Kind: lab.FaultHuge, Status: 401}, "endless": {Kind: lab.FaultEndless, Status: 401}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, m := testenv.NewInMemory(t, lab.Habits{})
				torment.Times = 1
				w.Lab.SetFault("mcp", torment)
				err := bounded(t, m, func() error { return w.Call(w.Session()) })
				if err != nil {
					t.Errorf("%v\n%s", err, w.Diary())
				}
				w.WantTabs(1)
			})
		})
	}
}
