package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// meter is a RoundTripper that counts the bytes of bodies that are read.
type meter struct {
	base http.RoundTripper
	read atomic.Int64
}

func (m *meter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := m.base.RoundTrip(req)
	if err == nil {
		resp.Body = &meteredBody{resp.Body, m}
	}
	return resp, err
}

type meteredBody struct {
	io.ReadCloser
	meter *meter
}

func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.meter.read.Add(int64(n))
	return n, err
}

// memoryWorld is a world without sockets, for a bubble of testing/synctest: there
// the client's own time-outs pass in no time.
func memoryWorld(t *testing.T, h lab.Habits) (*world, *meter) {
	t.Helper()
	server, err := lab.New(h, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	processes.Watch(t, server)
	return &world{t: t, lab: server, store: new(store.Memory)}, &meter{base: server.RoundTripper()}
}

// inMemory returns a session of such a world.
func (w *world) inMemory(m *meter) *handstamp.Client {
	c := w.session()
	c.BaseTransport, c.AuthTransport = m, m
	c.LoginTimeout = time.Hour
	c.Prompt = handstamp.Prompt{Authorize: func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
		w.tabs.Add(1)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
		if err != nil {
			return nil, err
		}
		resp, err := m.base.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		location, err := url.Parse(resp.Header.Get("Location"))
		if err != nil {
			return nil, err
		}
		return location.Query(), nil
	}}
	return c
}

// torments are answers without an end, in bytes or in time.
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
func bounded(t *testing.T, m *meter, operation func() error) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read, began := m.read.Load(), time.Now()
	err := operation()
	runtime.ReadMemStats(&after)
	if n := m.read.Load() - read; n > mostRead {
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

// No answer of an authorization server, at no endpoint, costs a login more than a
// bounded amount of memory and time.
func TestEndlessAnswersInLogin(t *testing.T) {
	for _, endpoint := range []string{"resource_metadata", "server_metadata", "register", "token:code"} {
		for name, torment := range torments {
			t.Run(endpoint+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, m := memoryWorld(t, lab.NoneFirst())
					w.lab.SetFault(endpoint, torment)
					err := bounded(t, m, func() error { return w.login(w.inMemory(m)) })
					var e *handstamp.Error
					if !errors.As(err, &e) {
						t.Fatalf("error %v, want one that callers can branch on", err)
					}
					status, err := w.inMemory(m).Status(t.Context(), w.lab.MCPURL())
					if err != nil || status.State != handstamp.StateNone {
						t.Errorf("status %+v, %v", status, err)
					}
				})
			})
		}
	}
}

// Nor does it cost a refresh more, and the credential is kept.
func TestEndlessAnswersInRefresh(t *testing.T) {
	for name, torment := range torments {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, m := memoryWorld(t, lab.Habits{Rotation: lab.RotateNone})
				w.mustLogin(w.inMemory(m))
				w.expire()
				before := w.record()
				w.lab.SetFault("token", torment)
				err := bounded(t, m, func() error { return w.call(w.inMemory(m)) })
				wantKind(t, err, handstamp.ErrUnreachable)
				after := w.record()
				if after.Grant == nil || after.Grant.RefreshToken != before.Grant.RefreshToken {
					t.Error("the refresh token was not kept")
				}
				w.wantTabs(1)

				w.lab.SetFault("token")
				time.Sleep(time.Until(after.Retry.NotBefore)) // in the bubble
				w.mustCall(w.inMemory(m))
				w.wantTabs(1)
			})
		})
	}
}

// Signing out ends, whatever the server does.
func TestEndlessAnswersInLogout(t *testing.T) {
	for name, torment := range torments {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, m := memoryWorld(t, lab.Habits{ManageClients: true})
				c := w.inMemory(m)
				w.mustLogin(c)
				w.lab.SetFault("revoke", torment)
				w.lab.SetFault("registration", torment)
				err := bounded(t, m, func() error {
					result, err := c.Logout(t.Context(), w.lab.MCPURL(), handstamp.LogoutOptions{DeleteClient: true})
					if err == nil && torment.Kind == lab.FaultHang && (result.Revoked || result.RevokeError == nil) {
						err = fmt.Errorf("a revocation that was not answered: %+v", result)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
				status, err := c.Status(t.Context(), w.lab.MCPURL())
				if err != nil || status.State != handstamp.StateNone {
					t.Errorf("status %+v, %v", status, err)
				}
			})
		})
	}
}

// A refused request's body is read to a bound, however long the server talks.
func TestEndlessRefusal(t *testing.T) {
	for name, torment := range map[string]lab.Fault{"huge": {Kind: lab.FaultHuge, Status: 401}, "endless": {Kind: lab.FaultEndless, Status: 401}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, m := memoryWorld(t, lab.Habits{})
				torment.Times = 1
				w.lab.SetFault("mcp", torment)
				err := bounded(t, m, func() error { return w.call(w.inMemory(m)) })
				if err != nil {
					t.Errorf("%v\n%s", err, w.diary())
				}
				w.wantTabs(1)
			})
		})
	}
}
