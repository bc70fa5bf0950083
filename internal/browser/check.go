package browser

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/handstamp/handstamp/internal/oauth"
)

// errRejected is the error that those of [Check] wrap.
var errRejected = errors.New("browser: the URL is not opened")

// maxURL is the longest URL that is opened, in bytes. Command lines and address
// bars take more; authorization requests need less.
const maxURL = 8 << 10

// Check returns an error unless rawurl may be opened in a browser: an absolute https URL, or http
// to this machine ("localhost" or a loopback address), of at most 8 KiB, without user information,
// with the characters of RFC 3986 except the apostrophe and the dollar sign. These have no meaning
// inside the quotes of any shell, so an opener that is a script is safe too.
//
// The URL comes from a server's metadata, so the rule lists what is allowed. Errors do not contain
// the URL.
func Check(rawurl string) error {
	_, err := canonical(rawurl)
	return err
}

// canonical checks rawurl and returns it rebuilt from its parts: a program is started with these
// bytes, not with those of the server.
func canonical(rawurl string) (string, error) {
	if len(rawurl) > maxURL {
		return "", reject("it is longer than 8 KiB")
	}
	if !plain(rawurl) {
		return "", reject("it contains a character that has no place in a URL")
	}
	u, err := url.Parse(rawurl)
	if err != nil {
		return "", reject("it cannot be parsed")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return "", reject("it is not an https URL")
	case u.User != nil:
		return "", reject("it contains user information")
	case u.Opaque != "" || !isHost(u.Hostname()):
		return "", reject("it has no proper host")
	case u.Scheme == "http" && (!oauth.IsLoopback(u.Hostname()) ||
		strings.HasSuffix(u.Hostname(), ".")):
		return "", reject("it is neither https nor on this machine")
	}
	again := u.String()
	if !plain(again) || len(again) > maxURL {
		return "", reject("it contains a character that has no place in a URL")
	}
	return again, nil
}

func reject(why string) error { return fmt.Errorf("%w: %s", errRejected, why) }

// plain reports whether s consists of the characters of URLs (RFC 3986 section 2), except the
// apostrophe and the dollar sign.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune("-._~:/?#[]@!&()*+,;=%", r)
	})
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// isHost reports whether host, without brackets, is an IPv6 address, without a zone and not one
// that stands for an IPv4 address, or has the characters of a DNS name. Names beyond ASCII must
// be in their encoded form, in which look-alikes differ.
func isHost(host string) bool {
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.Zone() == "" && !addr.Is4In6()
	}
	return host != "" && host[0] != '-' && !strings.ContainsFunc(host, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune(".-_", r)
	})
}
