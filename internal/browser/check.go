package browser

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// ErrRefused is what Check's errors are: the URL is not one to open. Nothing was
// started.
var ErrRejected = errors.New("browser: the URL is not opened")

// maxURL is the longest URL that is opened, in bytes. Command lines and address
// bars take more; authorization requests need less.
const maxURL = 8 << 10

// Check returns an error that is ErrRefused unless rawurl may reach a browser:
// an absolute https URL, or http to this machine ("localhost" or a loopback
// address), of at most 8 KiB, without user information, and of nothing but the
// characters of RFC 3986 less the apostrophe and the dollar sign. What remains
// has no meaning inside the quotes of any shell, so that an opener which is
// itself a script stays harmless, too.
//
// The URL comes from a server's metadata, so the rule is a list of what may pass,
// not of what may not. Errors do not contain the URL.
func Check(rawurl string) error {
	_, err := canonical(rawurl)
	return err
}

// canonical checks rawurl and returns it put together anew from its parts: these
// bytes, not those of the server, are what a program is started with.
func canonical(rawurl string) (string, error) {
	if len(rawurl) > maxURL {
		return "", rejected("it is longer than 8 KiB")
	}
	if !plain(rawurl) {
		return "", rejected("it contains a character that has no place in a URL")
	}
	u, err := url.Parse(rawurl)
	if err != nil {
		return "", rejected("it cannot be parsed")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return "", rejected("it is not an https URL")
	case u.User != nil:
		return "", rejected("it contains user information")
	case u.Opaque != "" || !isHost(u.Hostname()):
		return "", rejected("it has no proper host")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "", rejected("it is neither https nor on this machine")
	}
	again := u.String()
	if !plain(again) || len(again) > maxURL {
		return "", rejected("it contains a character that has no place in a URL")
	}
	return again, nil
}

func rejected(why string) error { return fmt.Errorf("%w: %s", ErrRejected, why) }

// plain reports whether s consists of the characters that a URL is made of
// (RFC 3986, section 2), without the apostrophe and the dollar sign.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && strings.IndexByte("-._~:/?#[]@!&()*+,;=%", c) < 0 {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// isHost reports whether host, without brackets, is an IPv6 address without a
// zone or looks like a DNS name. Names beyond ASCII have to come in their
// encoded form, in which their look-alikes differ.
func isHost(host string) bool {
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.Zone() == ""
	}
	for i := range len(host) {
		if c := host[i]; !isAlphanumeric(c) && c != '.' && c != '_' && (c != '-' || i == 0) {
			return false
		}
	}
	return host != ""
}

// isLoopback reports whether host is this machine beyond doubt. Other spellings
// of the same address ("127.1", "::ffff:127.0.0.1") are nobody's but an
// attacker's.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() && !addr.Is4In6()
}
