package bridge

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/handstamp/handstamp/internal/retryafter"
)

var lost = newTrouble(CodeUncertain, "connection_lost",
	"the connection to the server broke before the response came"+perhapsDone)

// rejection is an HTTP status for a request that was not carried out, and
// what the server sent with it.
type rejection struct {
	*Trouble
	status int
	tied   bool     // the request named a session
	atGET  bool     // it is about a stream, and no message
	body   *message // a JSON-RPC error, or a result; nil: none
}

func (r *rejection) Unwrap() error { return r.Trouble }

// code returns the JSON-RPC error code that the server gave, or zero.
func (r *rejection) code() int {
	if r.body == nil {
		return 0
	}
	return errorCode(r.body)
}

// errorCode returns the code of an error response, or zero.
func errorCode(m *message) int {
	code, _ := strconv.Atoi(string(member(m.error, "code")))
	return code
}

// fromOlderEra reports whether a server that rejects like this may be one of HTTP+SSE, or
// otherwise of an era before the request's ("Backward Compatibility").
func (r *rejection) fromOlderEra() bool {
	switch r.status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed:
	case http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
	default:
		return false
	}
	return !r.fromModern() && (r.code() != codeNoMethod || r.status != http.StatusNotFound)
}

// maybeSSE reports whether a server that rejects initialize like this may be one of
// HTTP+SSE ("Backward Compatibility" of the revisions before 2026-07-28: any 4xx, of
// which 400, 404 and 405 are named later). What is about the sender, the size or the
// moment means nothing for the transport.
func (r *rejection) maybeSSE() bool {
	switch r.status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusRequestTimeout,
		http.StatusRequestEntityTooLarge, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return r.status/100 == 4 && !r.atGET && !r.fromModern()
}

// fromModern reports whether a rejection is a JSON-RPC error that servers of 2026-07-28 or later
// send.
func (r *rejection) fromModern() bool {
	switch r.code() {
	case codeMismatch, codeCapability:
		return true
	case codeVersion:
		return supportsModern(r.body)
	}
	return false
}

// rejectionOf reads why the server rejected a request.
func (u *upstream) rejectionOf(resp *http.Response) *rejection {
	status := resp.StatusCode
	r := &rejection{status: status, Trouble: newTrouble(CodeRejected, "rejected",
		fmt.Sprintf("the server returned HTTP status %d (%s)", status, http.StatusText(status)))}
	switch {
	case status == http.StatusUnauthorized:
		r.Code, r.Reason = CodeSignIn, "auth_required"
	case later(status):
		r.Retry = true
		r.RetryAfter, _ = retryafter.Parse(resp.Header, time.Now())
	case status/100 == 5:
		r.Code, r.Reason, r.Retry = CodeUncertain, "server_error", true
	}
	// A rejection is known before its body has come, which may never end.
	timer := time.AfterFunc(rejectionTimeout, func() { resp.Body.Close() })
	defer timer.Stop()
	kind := contentType(resp.Header)
	body, done, err := u.body(resp)
	defer done()
	if err != nil {
		return r
	}
	if words := u.shown(remoteText(kind, body)); words != "" && words != http.StatusText(status) {
		r.Message += ": " + words
	}
	if status == http.StatusNotFound && !u.established() {
		r.Message += "; check the path of the URL: no MCP endpoint is there"
	}
	r.body = u.ofJSONRPC(body)
	return r
}

// rejectionTimeout bounds the wait for the body of a rejection.
const rejectionTimeout = 5 * time.Second

// ofJSONRPC returns a rejection's body, if it is a JSON-RPC response: it may be another
// protocol's, and OAuth's have a string as error. What it repeats of the credentials
// that it was sent goes no further.
func (u *upstream) ofJSONRPC(body []byte) *message {
	m, err := readMessage(body)
	if err == nil && m.batch {
		return m
	}
	if err != nil || !m.response() || m.foreign || m.error != nil && m.error[0] != '{' {
		return nil
	}
	if m.error == nil {
		return m
	}
	if shown := u.withoutCredentials(m.error); len(shown) != len(m.error) {
		if m, err = parse(set(m.raw, "error", shown)); err != nil {
			return nil
		}
	}
	return m
}

// later reports whether a status means "not now", and that nothing was done (RFC
// 6585, section 4; RFC 9110, section 15.6.4).
func later(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}
