package oauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// reply is the response of an endpoint in JSON or, at some servers, as a form. The content decides
// which of the two it is: the content type is wrong too often.
type reply struct {
	endpoint  string // as in Error
	status    int
	header    http.Header
	at        time.Time
	empty     bool
	truncated bool
	html      bool
	redactor  redactor // for errors

	members object // of the JSON object, or of the form with its values as JSON strings
	parsed  bool   // members could be read
}

// reply interprets a response that was just received.
func (a *response) reply(endpoint string) reply {
	r := newReply(endpoint, a.status, a.header.Get("Content-Type"), a.body, a.truncated)
	r.header, r.at, r.redactor = a.header, time.Now(), a.redactor
	return r
}

func newReply(endpoint string, status int, contentType string, body []byte, truncated bool) reply {
	r := reply{
		endpoint: endpoint, status: status, truncated: truncated,
		empty: len(bytes.TrimSpace(trimBOM(body))) == 0,
		html:  looksLikeHTML(contentType, body),
	}
	if r.empty || r.html {
		return r
	}
	o, err := readObject(body)
	if err != nil {
		o, err = readErrors(body)
	}
	if err != nil {
		o, err = readForm(body, truncated)
	}
	r.members, r.parsed = o, err == nil
	return r
}

// readErrors reads a list of objects, which several servers return as errors.
func readErrors(body []byte) (object, error) {
	body = bytes.TrimSpace(trimBOM(body))
	var list []map[string]json.RawMessage
	if json.Unmarshal(body, &list) != nil || len(list) == 0 {
		return object{}, errNoObject
	}
	return object{members: []member{{"errors", body}}, complete: true}, nil
}

// readForm reads a form-encoded response. It drops the last value of a truncated one, which may be
// incomplete.
func readForm(body []byte, truncated bool) (object, error) {
	text := strings.TrimSpace(string(trimBOM(body)))
	if strings.HasPrefix(text, "[") || strings.HasPrefix(text, `"`) || !strings.Contains(text, "=") {
		return object{}, errNoObject
	}
	if truncated {
		text = text[:max(strings.LastIndexByte(text, '&'), 0)]
	}
	o := object{complete: !truncated}
	for pair := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, errName := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		if errName != nil || errValue != nil {
			continue
		}
		o.members = append(o.members, member{name, quoteJSON(value)})
	}
	return o, nil
}

// quoteJSON returns s as a JSON string with its bytes as they are: json.Marshal
// would replace the invalid ones.
func quoteJSON(s string) json.RawMessage {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func (r reply) retryAfter() time.Duration { return retryAfter(r.header, r.at) }

// errorMember returns the [*Error] of a response that has an error code, or "ok": false; or nil.
// The status does not matter: several servers return errors with status 200. Only the members of an
// OAuth error count, since a successful response may have a "status" or a "type" of its own.
func (r reply) errorMember() error {
	found := r.rejection()
	for _, m := range r.members.members {
		switch reasonName(m.name) {
		case "error", "errorcode":
			if !isBlank(m.value) && (m.value[0] == '"' || m.value[0] == '{') {
				return r.error(found.code, found.description)
			}
		}
	}
	if string(r.members.raw("ok")) != "false" {
		return nil
	}
	if found.description == "" {
		found.description = "the response reports only that it is not ok"
	}
	return r.error(found.code, found.description)
}

func (r reply) error(code, description string) *Error {
	secrets := r.redactor.withResponse(r.members)
	e := newError(r.endpoint, r.status, secrets.redact(code), secrets.redact(description))
	e.RetryAfter, e.ClockAhead = r.retryAfter(), clockDifference(r.header, r.at)
	return e
}

func (r reply) transient(reason string) *TransientError {
	return &TransientError{
		Status: r.status, RetryAfter: r.retryAfter(),
		Reason: "the " + r.endpoint + " endpoint returned " + reason,
	}
}

// failure returns the error for a response that is not a success. It is an [*Error] only where the
// authorization server itself rejects the request; any other response may come from a proxy, and is
// a [*TransientError].
func (r reply) failure() error {
	if IsRedirect(r.status) {
		return r.transient("a redirect, which is not followed")
	}
	found := r.rejection()
	e := r.error(found.code, found.description)
	switch {
	case r.html:
		return r.transient("an HTML page")
	case r.empty && IsRejectionStatus(r.status) && !r.truncated:
		return e
	case r.empty:
		return r.transient("nothing")
	case !r.parsed:
		return r.transient("something that is no OAuth response")
	case e.classByText() != ClassOther, IsRejectionStatus(r.status) && found.reasoned:
		return e // it has a known code, or is at least about the request
	case r.status/100 == 2 || r.status >= 500:
		if err := r.errorMember(); err != nil {
			return err
		}
	}
	return r.transient("JSON that is no OAuth response")
}

// IsRejectionStatus reports whether authorization servers reject requests with this status. Others
// (404, 405, 415, …) mean that a request was sent to a wrong place or in a wrong form.
func IsRejectionStatus(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict,
		http.StatusUnprocessableEntity:
		return true
	}
	return false
}
