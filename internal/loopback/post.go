package loopback

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// maxBody is the longest form that is read, in bytes.
	maxBody = 64 << 10

	bodyTime = 2 * time.Second // for it to arrive
)

// parameters returns the parameters of a request to the redirect URI. A browser that follows a 307
// or 308 of the consent page's form posts that form again, to a URI with the parameters in its
// query (RFC 9110 section 15.4.8). Such a form may hold what the user typed, even a password, so
// it is not parsed. Only where the query has no part of a response, the form is the response
// itself (OAuth 2.0 Form Post Response Mode).
func parameters(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	params, err := parseQuery(r.URL.RawQuery)
	if r.Method != http.MethodPost || r.Body == nil {
		return params, err
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime))
	// It is read in any case: a connection that is closed with unread bytes loses its page.
	body, readErr := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	whole := readErr == nil && len(body) <= maxBody
	if err == nil && !hasResponse(params) && whole && isForm(r) {
		params, err = parseQuery(string(body))
	}
	deadline := time.Time{} // none, while the page is waited for
	if !whole {
		deadline = time.Now() // or net/http would go on reading
	}
	_ = control.SetReadDeadline(deadline)
	return params, err
}

// hasResponse reports whether params contain a part of an authorization response.
func hasResponse(params url.Values) bool {
	return slices.ContainsFunc(protected, params.Has)
}

func isForm(r *http.Request) bool {
	contentType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return strings.EqualFold(contentType, "application/x-www-form-urlencoded")
}
