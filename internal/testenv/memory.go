package testenv

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// Meter is a RoundTripper that counts the bytes of bodies that are read.
type Meter struct {
	base http.RoundTripper
	Read atomic.Int64
}

func (m *Meter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := m.base.RoundTrip(req)
	if err == nil {
		resp.Body = &meteredBody{resp.Body, m}
	}
	return resp, err
}

type meteredBody struct {
	io.ReadCloser
	meter *Meter
}

func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.meter.Read.Add(int64(n))
	return n, err
}

// NewInMemory is a world without sockets, for a bubble of testing/synctest: there
// the client's own time-outs pass in no time.
func NewInMemory(t *testing.T, h lab.Habits) (*Env, *Meter) {
	t.Helper()
	server, err := lab.New(h, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	Processes.Watch(t, server)
	return &Env{T: t, Lab: server, Store: new(store.Memory)}, &Meter{base: server.RoundTripper()}
}

// InMemory returns a session of such a world.
func (w *Env) InMemory(m *Meter) *handstamp.Client {
	c := w.Session()
	c.BaseTransport, c.AuthTransport = m, m
	c.LoginTimeout = time.Hour
	c.Prompt = handstamp.Prompt{Authorize: func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
		w.Tabs.Add(1)
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
