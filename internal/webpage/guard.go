package webpage

import (
	"net/http"
	"strings"
)

// policy lets the page load its own style, script and icon, send forms to itself, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// protect sets the headers that every response has. The policy on referrers lets forms send their
// origin, which is checked; nothing leads to another site with a referrer.
func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// isHost reports whether a request names the page's own address. A site that rebinds its DNS name
// to this machine sends its own name.
func (p *Page) isHost(r *http.Request) bool {
	host := strings.ToLower(r.Host)
	return r.URL.Host == "" && r.URL.Scheme == "" && // no request to a proxy
		(host == p.host || host+":80" == p.host)
}

// isOurs reports whether a request comes from the page itself or from no page: a program, the
// address bar, a link of a program. Browsers call the other ports of this machine the same site, so
// that the cookie goes along; their pages are strangers all the same.
func (p *Page) isOurs(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		if origin != "http://"+p.host {
			return false
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return true
	}
	// A link on another page may be followed to the page: it changes nothing.
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" &&
		r.Header.Get("Sec-Fetch-Dest") == "document" &&
		(r.URL.Path == "/" || r.URL.Path == p.access.home)
}

// isPrefetch reports whether a browser loads a link ahead of time.
func isPrefetch(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Sec-Purpose")+r.Header.Get("Purpose")),
		"prefetch")
}
