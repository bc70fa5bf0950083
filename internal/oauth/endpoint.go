package oauth

import (
	"net/netip"
	"net/url"
	"strings"
)

// maxURL is the longest URL that is used or shown, in bytes.
const maxURL = 8 << 10

// CheckEndpoint returns a [*ProtocolError] unless a secret may be sent to rawURL and a browser may
// open it: it must be absolute, https (or http to a loopback host, by address or as "localhost"),
// ASCII, without user information, without a fragment and without characters that have a meaning
// in a shell or a terminal (RFC 6749 sections 3.1 and 3.2, RFC 8252 section 8.3).
func CheckEndpoint(rawURL string) error {
	_, err := parseEndpoint("the URL", rawURL)
	return err
}

// parseEndpoint parses a URL with the rules of [CheckEndpoint]. what names it in errors.
func parseEndpoint(what, rawURL string) (*url.URL, error) {
	u, err := parseURL(what, rawURL)
	if err == nil && u.Scheme == "http" && !IsLoopback(u.Hostname()) {
		return nil, badURL(what, rawURL, "is neither https nor on this machine")
	}
	return u, err
}

// parseURL is parseEndpoint for the MCP server's own URLs: it accepts plain http to any host.
func parseURL(what, rawURL string) (*url.URL, error) {
	if len(rawURL) > maxURL {
		return nil, badURL(what, rawURL, "is too long")
	}
	if strings.IndexFunc(rawURL, notInURL) >= 0 {
		return nil, badURL(what, rawURL, "contains a character that no URL has")
	}
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, badURL(what, rawURL, "is not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, badURL(what, rawURL, "is not an https URL")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, badURL(what, rawURL, "has no host")
	case u.User != nil:
		return nil, badURL(what, rawURL, "contains user information")
	case strings.Contains(rawURL, "#"):
		return nil, badURL(what, rawURL, "has a fragment")
	}
	return u, nil
}

func badURL(what, rawURL, why string) *ProtocolError {
	e := protocolErrorf("RFC 6749 section 3.1", "%s %q %s", what, Sanitize(rawURL), why)
	e.Unsafe = true
	return e
}

// notInURL reports whether r is not a character of RFC 3986. Several of these have a meaning in
// shells and terminals.
func notInURL(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"\\`<>{}|^", r)
}

// origin returns scheme, host and port of u as they are written there.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// Origin returns scheme, host and port of u for display, without user information, path and query,
// which may contain secrets.
func Origin(u *url.URL) string { return Sanitize(origin(u)) }

// hasForeignScheme reports whether a text, used as a link, has another scheme than http or https,
// such as "javascript:" or "file:", also after a browser has removed control characters.
func hasForeignScheme(text string) bool {
	text = strings.TrimLeftFunc(text, func(r rune) bool { return r <= ' ' })
	text = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(text)
	scheme, _, found := strings.Cut(text, ":")
	if !found || scheme == "" {
		return false
	}
	for i, r := range scheme {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			return false
		}
	}
	return !strings.EqualFold(scheme, "https") && !strings.EqualFold(scheme, "http")
}

// IsLoopback reports whether host, without a port, is this machine: the name localhost or a
// loopback address (RFC 8252 section 8.3).
func IsLoopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

// SameOrigin reports whether two URLs have the same scheme, host and port (RFC
// 6454 section 4).
func SameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(),
		b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if strings.EqualFold(u.Scheme, "http") {
		return "80"
	}
	return "443"
}

// PathWithin reports whether the escaped path is base or below it: "/mcp/" and "/mcp/a" are within
// "/mcp", "/mcp-evil" and "/mcp/../a" are not.
func PathWithin(path, base string) bool {
	base = strings.TrimSuffix(base, "/")
	if path != base && !strings.HasPrefix(path, base+"/") {
		return false
	}
	for segment := range strings.SplitSeq(strings.ToLower(path), "/") {
		switch strings.ReplaceAll(segment, "%2e", ".") {
		case ".", "..":
			return false
		}
	}
	return true
}

// StandardURL returns a URL as the URL standard (WHATWG) and the URL types of most languages write
// it: scheme and host in lower case, no default port, and a slash after a bare host.
func StandardURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return raw
	}
	_, rest, _ := strings.Cut(raw, "://")
	after := strings.IndexAny(rest, "/?#")
	if after < 0 {
		after = len(rest)
	}
	scheme, host, rest := strings.ToLower(u.Scheme), strings.ToLower(u.Host), rest[after:]
	if port := u.Port(); port == "443" && scheme == "https" || port == "80" &&
		scheme == "http" || port == "" {
		host = strings.TrimSuffix(strings.TrimSuffix(host, port), ":")
	}
	if !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	return scheme + "://" + host + rest
}

// SameButSlash reports whether two URLs, or two paths, are equal but for one slash at the end.
func SameButSlash(a, b string) bool {
	return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/")
}

// IsLoopbackURI reports whether a redirect URI leads to this machine (RFC 8252 section 7.3).
func IsLoopbackURI(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "http" && IsLoopback(u.Hostname())
}
