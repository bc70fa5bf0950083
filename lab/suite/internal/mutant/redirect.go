package mutant

import (
	"net/http"
	"strings"
)

// slashes follows a redirect to the same URL with a slash at its end.
type slashes struct {
	base   http.RoundTripper
	defect Defect
}

// RoundTrip implements http.RoundTripper.
func (s slashes) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := s.base.RoundTrip(r)
	if err != nil || response.StatusCode/100 != 3 || s.defect == RedirectsIgnored {
		return response, err
	}
	to, err := r.URL.Parse(response.Header.Get("Location"))
	if err != nil || to.Scheme != r.URL.Scheme || to.Host != r.URL.Host ||
		to.Path != r.URL.Path+"/" || strings.HasSuffix(r.URL.Path, "/") {
		return response, nil
	}
	response.Body.Close()
	next := r.Clone(r.Context())
	next.URL = to
	if r.GetBody != nil {
		if next.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	if s.defect == PostBecomesGet && response.StatusCode == http.StatusMovedPermanently {
		next.Method, next.Body, next.ContentLength = http.MethodGet, nil, 0
	}
	return s.base.RoundTrip(next)
}
