package bridge

import (
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
)

// notSent is the error of a request that got no connection, as that could not be made or failed in
// its TLS handshake: no byte of the request has left this machine.
type notSent struct{ error }

func (e notSent) Unwrap() error { return e.error }

// withTrace returns a request that is traced, and what makes an error of it a notSent where it is
// one. A transport that cannot be traced leaves errors as they are.
func withTrace(req *http.Request) (traced *http.Request, explain func(error) error) {
	var wanted, got atomic.Bool
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { got.Store(true) },
	}
	if s, ok := req.Context().Value(sendingKey{}).(*sending); ok {
		trace.GetConn = func(string) {
			wanted.Store(true)
			s.attempt()
		}
		trace.WroteRequest = func(info httptrace.WroteRequestInfo) { s.written.Store(info.Err == nil) }
		trace.GotFirstResponseByte = func() { s.responded.Store(true) }
		trace.Got1xxResponse = func(int, textproto.MIMEHeader) error {
			s.responded.Store(false) // the response is still to come
			return nil
		}
	}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), trace)), func(err error) error {
		if wanted.Load() && !got.Load() {
			return notSent{err}
		}
		return err
	}
}
