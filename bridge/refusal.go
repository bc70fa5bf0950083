package bridge

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

var (
	lost = &Trouble{Code: CodeUncertain, Reason: "connection_lost",
		Message: "the connection to the server broke before the answer came; the request may or may not have been carried out"}
	tooLarge = &Trouble{Code: CodeProtocol, Reason: "too_large", Message: "the server's answer is too large"}
)

// refusal is an HTTP status that says that a request was not carried out, and
// what the server said with it.
type refusal struct {
	*Trouble
	status int
	body   *message // a JSON-RPC error; nil: none
}

func (r *refusal) Unwrap() error { return r.Trouble }

// code returns the JSON-RPC error code that the server gave, or zero.
func (r *refusal) code() int {
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

// old reports whether a server that refuses like this may be one of HTTP+SSE, or
// otherwise of an era before the request's ("Backward Compatibility").
func (r *refusal) old() bool {
	switch r.status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed:
	case http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
	default:
		return false
	}
	switch r.code() {
	case codeMismatch, codeCapability:
		return false
	case codeVersion:
		return !supportsModern(r.body)
	case codeNoMethod:
		return r.status != http.StatusNotFound
	}
	return true
}

// refused reads why the server refused a request.
func (u *upstream) refused(resp *http.Response) *refusal {
	status := resp.StatusCode
	r := &refusal{status: status, Trouble: &Trouble{Code: CodeRefused, Reason: "refused", Message: "the server answers with HTTP status " +
		strconv.Itoa(status) + " (" + http.StatusText(status) + ")"}}
	switch {
	case status == http.StatusUnauthorized:
		r.Code, r.Reason = CodeSignIn, "auth_required"
	case later(status):
		r.Retry = true
		r.RetryAfter, _ = retryAfter(resp.Header)
	case status/100 == 5:
		r.Code, r.Reason, r.Retry = CodeUncertain, "server_error", true
	}
	body, done, err := u.body(resp)
	defer done()
	if err == nil {
		// A refusal may be another protocol's: OAuth's have a string as error.
		m, err := heard(body)
		if err == nil && !m.batch && m.error != nil && m.error[0] == '{' && !m.foreign {
			r.body = m
		}
	}
	return r
}

// later reports whether a status means "not now", and that nothing was done (RFC
// 6585, section 4; RFC 9110, section 15.6.4).
func later(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// retryAfter returns when the server wants to be asked again (RFC 9110, section
// 10.2.3), and whether it says so.
func retryAfter(h http.Header) (time.Duration, bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at)), true
	}
	return 0, false
}
