package lab

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
)

// errCut is what a client in memory sees of a connection that ends.
var errCut = errors.New("lab: connection reset")

// RoundTripper reaches the servers without a socket. It is for New, and works
// beside the sockets of Start. Requests to other hosts fail.
func (s *Server) RoundTripper() http.RoundTripper { return inMemory{s} }

type inMemory struct{ server *Server }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	origin := r.URL.Scheme + "://" + r.URL.Host
	if origin != m.server.origin && origin != m.server.mcpOrigin {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, errors.New("lab: no such host")
	}
	// The server side of the request, which the client's must not change.
	ctx, cancel := context.WithCancel(r.Context())
	incoming := r.Clone(ctx)
	incoming.RequestURI = r.URL.RequestURI()
	if incoming.Host == "" {
		incoming.Host = r.URL.Host
	}
	if incoming.Body == nil {
		incoming.Body = http.NoBody
	}
	body, pipe := io.Pipe()
	w := &pipeWriter{header: make(http.Header), pipe: pipe, started: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		defer incoming.Body.Close()
		defer func() {
			if failure := recover(); failure != nil {
				pipe.CloseWithError(io.ErrUnexpectedEOF)
				if failure != http.ErrAbortHandler {
					panic(failure)
				}
				return
			}
			w.WriteHeader(http.StatusOK)
			pipe.Close()
		}()
		m.server.handle(w, incoming)
	}()
	select {
	case <-w.started:
	case <-ended:
		select {
		case <-w.started:
		default:
			return nil, errCut
		}
	case <-r.Context().Done():
		body.CloseWithError(r.Context().Err())
		return nil, r.Context().Err()
	}
	stop := context.AfterFunc(r.Context(), func() { body.CloseWithError(r.Context().Err()) })
	return &http.Response{
		Status:        strconv.Itoa(w.status) + " " + http.StatusText(w.status),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.sent,
		Body:          &pipeBody{body, func() { stop(); cancel() }},
		ContentLength: -1,
		Request:       r,
	}, nil
}

// pipeBody is the client's end of a response. Closing it tells the server that the
// client has gone.
type pipeBody struct {
	*io.PipeReader
	gone func()
}

func (b *pipeBody) Close() error {
	b.gone()
	return b.PipeReader.Close()
}

// pipeWriter is the server's end of a response.
type pipeWriter struct {
	header  http.Header
	pipe    *io.PipeWriter
	once    sync.Once
	started chan struct{} // closed when status and sent are there
	status  int
	sent    http.Header
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, maps.Clone(w.header)
		close(w.started)
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pipe.Write(p)
}

// Flush has nothing to do: a pipe keeps nothing back.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }
