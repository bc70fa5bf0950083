package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/textlist"
)

// DefaultProfile is the profile of a Key that names none.
const DefaultProfile = "default"

// Key names a credential: one server, one profile. Build it with NewKey, which
// makes equal what a user takes for equal.
type Key struct {
	// Server is the canonical server URL: scheme and host in lower case, no
	// default port, no fragment, no slash at the end. It names the record and
	// is never sent; what is sent is in the record.
	Server string `json:"server"`

	// Profile tells several logins at one server apart.
	Profile string `json:"profile"`
}

// NewKey returns the key of the credential for an absolute http or https URL.
// An empty profile is DefaultProfile.
func NewKey(serverURL, profile string) (Key, error) {
	u, err := parseServerURL(serverURL)
	if err != nil {
		return Key{}, err
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), ":")
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	origin := url.URL{Scheme: u.Scheme, Host: host}
	server := origin.String() + strings.TrimRight(u.EscapedPath(), "/")
	if u.RawQuery != "" {
		server += "?" + u.RawQuery
	}
	return Key{Server: server, Profile: cmp.Or(profile, DefaultProfile)}, nil
}

// parseServerURL parses an absolute http or https URL; its scheme is in lower case.
func parseServerURL(serverURL string) (*url.URL, error) {
	u, err := url.Parse(serverURL) // which writes the scheme in lower case
	if err != nil {
		if e, ok := errtype.As[*url.Error](err); ok {
			err = e.Err // without the URL, which may hold a password
		}
		return nil, fmt.Errorf("store: malformed server URL: %w", err)
	}
	beyondASCII := func(r rune) bool { return r > '~' }
	switch {
	case (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("store: the server URL must be absolute, http or https")
	case !utf8.ValidString(u.Host), strings.HasPrefix(u.Host, "[") && strings.ContainsFunc(u.Host, beyondASCII):
		return nil, errors.New("store: malformed server URL: invalid host")
	}
	return u, nil
}

// String returns the key as a user reads it.
func (k Key) String() string {
	if k.Profile == "" || k.Profile == DefaultProfile {
		return k.Server
	}
	return k.Server + " (" + k.Profile + ")"
}

// Compare orders keys by server, then profile, as List does.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Server, other.Server), cmp.Compare(k.Profile, other.Profile))
}

// ID returns 16 characters that tell the key apart from all others, and do not show it.
func (k Key) ID() string { return hashID(k.Server, k.Profile) }

// hashID returns 96 bits of a hash of a list of texts. Key.Name has a hash of its own, in lower case,
// since a file system may ignore case; it stays as it is, for records are stored under it.
func hashID(parts ...string) string {
	sum := sha256.Sum256(textlist.Append(nil, parts...))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Name returns a name for the key that is safe in every file system and as a
// key of any database: lower-case letters, digits, '.' and '-', at most 80
// bytes. It begins with the host, for the user who looks into the folder; a
// hash makes it unique.
func (k Key) Name() string {
	host := k.Server
	if u, err := url.Parse(k.Server); err == nil {
		host = u.Hostname()
	}
	slug := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		}
		return '-'
	}, host)
	if len(slug) > 40 {
		slug = slug[:40]
	}
	slug = strings.Trim(slug, "-.")
	if slug == "" {
		slug = "server"
	}
	sum := sha256.Sum256([]byte(k.Server + "\x00" + k.Profile))
	return slug + "-" + hex.EncodeToString(sum[:16])
}
