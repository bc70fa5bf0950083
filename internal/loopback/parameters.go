package loopback

import (
	"errors"
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

// protected are the parameters that decide the outcome. Each may occur only once (RFC 6749
// section 3.1): otherwise a check could see another value than the code that uses it.
var protected = []string{"code", "error", "iss", "response", "state"}

// parseQuery reads the parameters of a callback. A parameter that cannot be decoded is left out,
// such as an error_description that the server did not encode, and a semicolon is an ordinary
// character. A protected parameter that cannot be decoded or occurs twice is an error.
func parseQuery(raw string) (url.Values, error) {
	values := make(url.Values)
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		rawKey, rawValue, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(rawKey)
		if err != nil {
			continue // no protected name has an escape that fails
		}
		value, err := url.QueryUnescape(rawValue)
		if slices.Contains(protected, key) && (err != nil || values.Has(key)) {
			return nil, errors.New("loopback: the parameter " + key + " is malformed or repeated")
		}
		if err == nil {
			values.Add(key, value)
		}
	}
	return values, nil
}
