package loopback

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

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
