package bridge_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// memory is a server in the same process, reached without a network, so that a
// test can run on the clock of testing/synctest.
type memory http.HandlerFunc

// RoundTrip implements [http.RoundTripper]. The response is there once the handler
// has written its header.
func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	body, out := io.Pipe()
	w := &memoryWriter{header: make(http.Header), out: out, ready: make(chan int, 1)}
	broken := make(chan struct{})
	served := r.WithContext(ctx)
	if served.Body == nil {
		served.Body = http.NoBody
	}
	go func() {
		defer func() {
			if recover() != nil {
				out.CloseWithError(io.ErrUnexpectedEOF)
				close(broken)
				return
			}
			w.WriteHeader(http.StatusOK)
			out.Close()
		}()
		m(w, served)
	}()
	resp := &http.Response{Header: w.header, Request: r, ContentLength: -1, Body: memoryBody{body, cancel}}
	select {
	case resp.StatusCode = <-w.ready:
		return resp, nil
	case <-broken:
		cancel()
		return nil, io.EOF
	case <-r.Context().Done():
		cancel()
		body.Close()
		return nil, r.Context().Err()
	}
}

type memoryBody struct {
	io.ReadCloser
	cancel func()
}

func (b memoryBody) Close() error {
	b.cancel()
	return b.ReadCloser.Close()
}

type memoryWriter struct {
	header http.Header
	out    *io.PipeWriter
	ready  chan int
	once   sync.Once
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) { w.once.Do(func() { w.ready <- status }) }

func (w *memoryWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.out.Write(b)
}

func (w *memoryWriter) Flush() { w.WriteHeader(http.StatusOK) }

// inMemory runs a test on the clock of testing/synctest, which moves only while all
// wait: what a server takes its time for costs the test none.
func inMemory(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// startInMemory runs a bridge in front of what carries its requests, with a host that
// waits for an hour of the clock in memory.
func startInMemory(t *testing.T, wire http.RoundTripper, with func(*bridge.Options)) *host {
	t.Helper()
	o := bridge.Options{URL: "http://server.example/mcp", HTTP: &http.Client{Transport: wire}, Name: "hs", Version: "9", Logger: logger(t)}
	if with != nil {
		with(&o)
	}
	h := start(t, o)
	h.limit = time.Hour
	return h
}

// takes lets a request wait for d, or until it is given up.
func takes(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}
