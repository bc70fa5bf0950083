//go:build unix

package process_test

import (
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// managed is a server that issues a new secret with each update of a registration, as RFC 7592 has
// it: an update that contains another secret than the current one is rejected.
func managed(rotate bool) lab.Habits {
	return lab.Habits{
		ManageClients: true, RegisterMethod: lab.MethodPost, SecretLifetime: time.Hour, RedirectExact: true,
		Registrations: lab.Registrations{RotateToken: rotate, ReplaceSecret: true},
	}
}

// endSecret ends the secret of the client and the access token, for the server and for the client.
func endSecret(m *testenv.Env) {
	m.Lab.Advance(2 * time.Hour)
	rec := m.Record()
	rec.Grant.ObtainedAt = time.Now().Add(-2 * time.Hour)
	rec.GrantClient().SecretExpiresAt = time.Now().Add(-time.Minute)
	m.Put(rec)
	m.Expire()
	m.Lab.Reset()
}

// killUpdate has a process killed while it updates the registration: after the server has carried
// it out, or at a point of the process.
func killUpdate(m *testenv.Env, point string, job testenv.Job) {
	m.T.Helper()
	if point != committed {
		job.Crash = point
		m.Start(job).Killed()
		return
	}
	gate, p := m.StartHeld("registration:committed", job)
	p.Signal(syscall.SIGKILL)
	p.Killed()
	gate.Release()
}

// A process is killed between the update that brings a new secret and its place on the disk. The
// next process reads the registration, where the server lets it, and goes on without a user. Where
// the response had the only token for that, the error names the secret, and one login heals it.
func TestKilledAfterSecretWasReplaced(t *testing.T) {
	for _, c := range []struct {
		name   string
		point  string
		rotate bool
		lost   bool
	}{
		{"before the request", "connected", true, false},
		{"carried out", committed, false, false},
		{"received", "final:create", false, false},
		{"stored", "stored:final", false, false},
		{"stored, another access token", "stored:final", true, false},
		{"carried out, another access token", committed, true, true},
		{"received, another access token", "final:create", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := testenv.NewOnDisk(t, managed(c.rotate))
			endSecret(m)
			killUpdate(m, c.point, testenv.Job{Do: "call"})
			err := m.Run(testenv.Job{Do: "call"})
			if c.lost {
				if !errors.Is(err, handstamp.ErrLoginRequired) || !strings.Contains(err.Error(), "the client secret expired") {
					t.Fatalf("%v, want a login that the secret is the reason for\n%s", err, m.Diary())
				}
				m.MustCall(m.Session())
			} else if err != nil {
				t.Fatalf("the next process: %v\n%s", err, m.Diary())
			}
			m.Expire()
			m.MustRun()
			if tabs := m.Tabs.Load(); (tabs == 1) == c.lost {
				t.Errorf("%d tabs\n%s", tabs, m.Diary())
			}
		})
	}
}

// A login that was killed after its redirect URI was added to the registration leaves a
// registration that the next login goes on with, although its secret may be another one.
func TestKilledAfterRedirectURIWasAdded(t *testing.T) {
	for name, ends := range map[string]bool{"secret as before": false, "another secret": true} {
		for _, point := range []string{committed, "final:create", "stored:final"} {
			t.Run(name+"/"+point, func(t *testing.T) {
				t.Parallel()
				h := managed(false)
				h.Registrations.ReplaceSecret = ends
				m := testenv.NewOnDisk(t, h)
				occupy(m)
				m.Lab.RevokeFamilies()
				m.Expire()
				m.Lab.Reset()
				job := testenv.Job{Do: "login", Login: true}
				killUpdate(m, point, job)
				if err := m.Run(job); err != nil {
					t.Fatalf("the next login: %v\n%s", err, m.Diary())
				}
				m.WantCounts(map[string]int{"register": 0})
				m.Expire()
				m.MustRun()
			})
		}
	}
}

// occupy takes the ports of the client's redirect URIs, where no other program has them already.
func occupy(m *testenv.Env) {
	m.T.Helper()
	for _, client := range m.Record().Clients {
		for _, uri := range client.RedirectURIs {
			u, err := url.Parse(uri)
			if err != nil {
				m.T.Fatal(err)
			}
			listener, err := net.Listen("tcp", u.Host)
			if err == nil {
				m.T.Cleanup(func() { listener.Close() })
			} else if !errors.Is(err, syscall.EADDRINUSE) {
				m.T.Fatal(err)
			}
		}
	}
}
