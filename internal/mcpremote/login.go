package mcpremote

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp/secret"
)

const (
	tokensFile = "tokens.json"
	clientFile = "client_info.json"
	leaseFile  = "refresh_in_progress.json"
)

// Login is what one version of mcp-remote keeps under one hash.
type Login struct {
	Hash   string
	Path   string // of the tokens, or of the registration where there are none
	Folder string // the version's; "" is mcp-remote's folder itself

	// Err is the reason, as a clause, why the login cannot be used; nil if it can.
	// It is [ErrNoTokens] where the user never signed in.
	Err error

	Tokens      secret.String // the token endpoint's response, with what mcp-remote added
	Refreshable bool          // there is a refresh token

	// Registration is the registration response; "" where mcp-remote was given its
	// client, which then is Client if a version kept it by mistake.
	Registration secret.String
	Client       *Client

	// Issuer is the authorization server that the login comes from, as versions
	// since 0.14.3 note it; "" in older ones.
	Issuer         string
	ScopeRequested string
	ReceivedAt     time.Time // of the tokens
	ExpiresAt      time.Time // of the access token; zero: not known
}

// The errors of a login that cannot be taken.
var (
	ErrNoTokens   = errors.New("never signed in: there is a registration, and no tokens")
	ErrRefreshing = errors.New("mcp-remote is refreshing this login at this moment")
)

// leaseTime is how long mcp-remote believes that another instance of it is
// refreshing a login.
const leaseTime = 30 * time.Second

// login reads one login.
func (r *reader) login(folder, hash string) {
	name := func(kind string) string { return path.Join(folder, hash+"_"+kind) }
	l := &Login{Hash: hash, Folder: folder, Path: r.place(name(tokensFile))}
	r.Logins = append(r.Logins, l)

	tokens, info, err := r.read(name(tokensFile), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		l.Path, l.Err = r.place(name(clientFile)), ErrNoTokens
		return
	}
	if err == nil {
		l.Tokens, err = secret.String(tokens), l.readTokens(tokens, info.ModTime())
	}
	if err != nil {
		l.Err = errors.New(reason(err))
		return
	}
	r.URLs = append(r.URLs, l.urls()...)

	registration, _, err := r.read(name(clientFile), maxFile)
	if err == nil {
		err = l.readClient(registration)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.Path, l.Err = r.place(name(clientFile)), errors.New(reason(err))
		return
	}
	if lease, _, err := r.read(name(leaseFile), maxFile); err == nil {
		if at := instant(members(lease)["at"]); r.now.Sub(at).Abs() < leaseTime {
			l.Err = ErrRefreshing
		}
	}
}

var errDamaged = errors.New("it is damaged: not a JSON object")

// members reads a JSON object; nil if it is none.
func members(text []byte) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &object) != nil {
		return nil
	}
	return object
}

// readTokens reads the tokens; written is when the file was.
func (l *Login) readTokens(text []byte, written time.Time) error {
	object := members(text)
	access, refresh := word(object["access_token"]), word(object["refresh_token"])
	switch {
	case object == nil:
		return errDamaged
	case access == "" && refresh == "":
		return errors.New("there are no tokens in it")
	}
	l.Refreshable = refresh != ""
	l.Issuer, l.ScopeRequested = word(object["issuer"]), word(object["requested_scope"])
	l.ReceivedAt = written
	if l.ExpiresAt = instant(object["expires_at"]); l.ExpiresAt.IsZero() {
		// Versions before 0.1.4x did not note when: they wrote the file then.
		if life := lifetime(object["expires_in"]); life > 0 {
			l.ExpiresAt = written.Add(life)
		}
	} else if life := lifetime(object["expires_in"]); life > 0 {
		l.ReceivedAt = l.ExpiresAt.Add(-life)
	}
	return nil
}

// readClient reads the registration that the tokens belong to.
func (l *Login) readClient(text []byte) error {
	object := members(text)
	id := word(object["client_id"])
	switch {
	case object == nil:
		return errDamaged
	case id == "":
		return errors.New("there is no client_id in it")
	}
	issuer := word(object["issuer"])
	if issuer != "" && l.Issuer != "" && strings.TrimSuffix(issuer,
		"/") != strings.TrimSuffix(l.Issuer, "/") {
		return fmt.Errorf("the registration is one at %s, and the tokens come from %s", issuer, l.Issuer)
	}
	l.Issuer = cmp.Or(l.Issuer, issuer)
	if len(object["redirect_uris"]) == 0 && len(object["client_id_issued_at"]) == 0 {
		// No registration looks like this. Versions from 0.9 to 0.14 kept a copy of
		// the client that they had been given.
		l.Client = &Client{ID: id, Secret: secret.String(word(object["client_secret"])),
			Method: word(object["token_endpoint_auth_method"])}
		return nil
	}
	l.Registration = secret.String(text)
	return nil
}

// urls returns the URLs that the login itself has, to be tried.
func (l *Login) urls() []string {
	object := members([]byte(l.Tokens))
	urls := append(claimURLs(word(object["access_token"])), claimURLs(word(object["id_token"]))...)
	if l.Issuer != "" {
		urls = append(urls, l.Issuer)
	}
	return urls
}

// Usable reports whether the login can be expected to work.
func (l *Login) Usable(now time.Time) bool {
	return l.Err == nil && (l.Refreshable || l.ExpiresAt.IsZero() || now.Before(l.ExpiresAt))
}

// Order compares logins at one server: those that can be used come first, and of
// these those that were obtained last.
func Order(now time.Time) func(a, b *Login) int {
	return func(a, b *Login) int {
		if x, y := a.Usable(now), b.Usable(now); x != y {
			if x {
				return -1
			}
			return 1
		}
		return b.ReceivedAt.Compare(a.ReceivedAt)
	}
}

// word returns a JSON string; "" for anything else.
func word(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// number returns a JSON number, or one in a string; 0 for anything else.
func number(v json.RawMessage) float64 {
	n, err := strconv.ParseFloat(strings.TrimSpace(cmp.Or(word(v), string(v))), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0
	}
	return n
}

// instant reads a time: seconds since 1970, or milliseconds, which mcp-remote
// writes itself.
func instant(v json.RawMessage) time.Time {
	n := number(v)
	if n > 1e11 {
		n /= 1000
	}
	if n < 1 || n > 1e11 {
		return time.Time{}
	}
	return time.UnixMilli(int64(n * 1000)).UTC()
}

// lifetime reads a number of seconds; 0 if it says nothing.
func lifetime(v json.RawMessage) time.Duration {
	n := number(v)
	if n <= 0 || n > 1e9 {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}
