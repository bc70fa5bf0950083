package oauth

import (
	"net/netip"
	"net/url"
	"strings"
)

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
