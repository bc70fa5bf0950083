package testenv

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"

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

// NewInMemory returns an Env without sockets, for a bubble of testing/synctest: there the client's
// own time-outs pass in no time. The Meter carries the requests of its sessions.
func NewInMemory(t *testing.T, h lab.Habits) (*Env, *Meter) {
	t.Helper()
	server, err := lab.New(h, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	Processes.Watch(t, server)
	m := &Meter{base: server.RoundTripper()}
	return &Env{T: t, Lab: server, Store: new(store.Memory), memory: m}, m
}

// InBubble runs a test with an Env of its own in a bubble of testing/synctest, where what a
// client waits for takes no time.
func InBubble(t *testing.T, h lab.Habits, test func(t *testing.T, w *Env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, _ := NewInMemory(t, h)
		test(t, w)
	})
}

// consent is Consent at a server without sockets.
func (m *Meter) consent(ctx context.Context, rawURL string) (url.Values, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
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
}
