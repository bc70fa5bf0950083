package bridge

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/handstamp/handstamp/internal/errtype"
)

// broken returns what a failed exchange means.
func (u *upstream) broken(err error) error {
	if u.life.Err() != nil {
		return u.life.Err()
	}
	t := u.explain(err)
	switch {
	case t.fromSignIn, t.Reason != "unreachable":
		return t // a request that the server did not get, or rejected before it did anything
	case untrusted(err):
		t.Reason, t.Retry = "tls", false
		return t
	case u.unsent(err):
		return t
	}
	u.Logger.Debug("the request got no response", "err", err)
	return lost
}

// unsent reports whether an error means that no byte of the request has left
// this machine, so that it can be sent again: the connection to the server could
// not be made.
func (u *upstream) unsent(err error) bool {
	if untrusted(err) || u.Explain != nil && u.Explain(err) != nil {
		return false // it is about something else than reaching the server
	}
	if _, ok := errtype.As[notSent](err); ok {
		return true
	}
	op, ok := errtype.As[*net.OpError](err)
	return ok && (op.Op == "dial" || op.Op == "proxyconnect")
}

// untrusted reports whether this machine and the server could not agree on a TLS
// connection, so that nothing was done, and nothing will be on another try.
func untrusted(err error) bool {
	if _, ok := errtype.As[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errtype.As[tls.RecordHeaderError](err); ok {
		return true
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return true
	}
	op, ok := errtype.As[*net.OpError](err)
	return ok && op.Op == "remote error" // the server's alert: it wants a client certificate
}

// cause returns what went wrong, without the method and the URL that the
// standard library puts before it.
func cause(err error) string {
	if e, ok := errtype.As[*url.Error](err); ok {
		err = e.Err
	}
	message := strings.TrimPrefix(err.Error(), "remote error: ")
	if errors.Is(err, http.ErrSchemeMismatch) {
		message = "it speaks http, not https"
	}
	if untrusted(err) && strings.Contains(message, "unknown authority") {
		message += "; name its authority with --ca-file"
	}
	return message
}
