package loopback

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// protected are the parameters that decide something. They may occur only once
// (RFC 6749, section 3.1): which of two a check has seen must not be a question.
var protected = []string{"code", "error", "iss", "response", "state"}

// parseQuery reads the parameters of a callback. It is liberal where nothing
// depends on it, for an authorization server that does not encode its
// error_description properly should still be heard: a parameter that cannot be
// decoded is left out, and a semicolon is a character like others. A protected
// parameter that cannot be decoded or that occurs twice is an error.
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
