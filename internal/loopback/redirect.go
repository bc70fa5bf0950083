package loopback

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// defaultRedirect is the default redirect URI. The address is preferred to "localhost", which may
// resolve to another one (RFC 8252 section 8.3).
const defaultRedirect = "http://127.0.0.1/callback"

// redirect is a redirect URI on this machine.
type redirect struct {
	host      string   // as in the URI, without brackets, in lower case
	addresses []string // the addresses that host stands for
	port      int      // 0: any
	path      string   // as a browser sends it
	raw       string   // the URI
	afterHost string   // what follows the authority in raw
	hasPort   bool     // raw names the port
}

// parseRedirect parses a registered redirect URI ("": the default) to be used with port (0: any).
func parseRedirect(raw string, port int) (redirect, error) {
	if port < 0 || port > 65535 {
		return redirect{}, fmt.Errorf("loopback: %d is not a port", port)
	}
	if raw == "" {
		raw = defaultRedirect
	}
	bad := func(why string) (redirect, error) {
		return redirect{}, fmt.Errorf("loopback: the redirect URI %q %s", raw, why)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return redirect{}, errors.New("loopback: the redirect URI cannot be parsed")
	case u.Scheme != "http" || u.Opaque != "":
		return bad("does not begin with http://")
	case u.User != nil || strings.ContainsAny(raw, "?#"):
		return bad("has parts other than host, port and path")
	}
	r := redirect{
		host:      strings.ToLower(u.Hostname()),
		port:      port,
		path:      u.EscapedPath(),
		raw:       raw,
		afterHost: raw[len("http://")+len(u.Host):],
		hasPort:   u.Port() != "",
	}
	switch r.host {
	case "127.0.0.1", "::1":
		r.addresses = []string{r.host}
	case "localhost":
		r.addresses = []string{"127.0.0.1", "::1"}
	default:
		return bad("leads neither to 127.0.0.1 nor to localhost nor to [::1]")
	}
	if r.path == "" {
		r.path = "/" // as a browser sends it
	}
	if r.hasPort {
		named, err := strconv.Atoi(u.Port())
		switch {
		case err != nil || named < 1 || named > 65535:
			return bad("has no valid port")
		case port != 0 && port != named:
			return bad(fmt.Sprintf("has another port than the requested %d", port))
		}
		r.port = named
	}
	return r, nil
}

// uri returns the redirect URI for a listener on port. Many servers compare it byte for byte with
// the registered one, so nothing else in it changes.
func (r redirect) uri(port int) string {
	if r.hasPort {
		return r.raw
	}
	return "http://" + net.JoinHostPort(r.host, strconv.Itoa(port)) + r.afterHost
}
