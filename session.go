package handstamp

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// session is one credential in this process: a server and a profile. Its states
// are those of the stored record, which every process may change; what is kept
// here is a snapshot good enough for the next request.
type session struct {
	c         *Client
	key       store.Key
	serverURL string // as the user gave it
	server    *url.URL
	target    string // the server URL as given, without a fragment: its bytes may be the resource
	fetcher   *oauth.Fetcher
	log       *slog.Logger

	// current is what the next request is sent with; nil until the store was
	// read. Loading it is all that the warm path does.
	cached atomic.Pointer[cachedToken]

	history history

	named namedEndpoints

	// moved is where the server redirects to on its own origin; nil: nowhere.
	moved atomic.Pointer[string]

	// privateNetwork says that a connection to the server led into a private network.
	privateNetwork atomic.Bool

	records records
	secrets knownSecrets

	mu            sync.Mutex // guards what follows
	activeRefresh *flight
	activeLogin   *flight
}

// session returns the session of a server, the same for equal URLs.
func (c *Client) session(serverURL string) (*session, error) {
	c.init()
	u, err := parseServerURL(serverURL, c.InsecureAllowHTTP)
	if err != nil {
		return nil, err
	}
	if err := c.Registration.check(); err != nil {
		return nil, err
	}
	target, _, _ := strings.Cut(serverURL, "#")
	key, err := store.NewKey(target, c.Profile)
	if err != nil {
		return nil, &Error{Kind: ErrInvalidConfig, Server: serverURL, Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[key]; s != nil {
		return s, nil
	}
	s := &session{
		c:         c,
		key:       key,
		serverURL: serverURL,
		server:    u,
		target:    target,
		log:       c.Logger.With("server", key.Server),
	}
	if r := c.Registration; r != nil {
		s.secrets.configured = r.ClientSecret
	}
	s.records = records{store: c.Store, key: key, serverURL: serverURL, timeout: c.LockTimeout,
		notice: s.notice, seen: s.seeRecord}
	s.fetcher = &oauth.Fetcher{HTTP: c.authTransport(s.reach), UserAgent: userAgent, Secrets: s.secrets.all}
	c.sessions[key] = s
	return s, nil
}

// seeRecord takes note of what a record tells that was read or is written.
func (s *session) seeRecord(rec *record.Record) {
	if as := rec.AuthorizationServer; as != nil && as.PrivateNetwork {
		s.privateNetwork.Store(true)
	}
	s.secrets.note(rec)
}

// parseServerURL returns the URL of an MCP server, or an error that says what is
// wrong with it.
func parseServerURL(raw string, allowHTTP bool) (*url.URL, error) {
	usage := func(message, hint string) error {
		return &Error{Kind: ErrInvalidConfig, Server: raw, Message: message, Hint: hint}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, usage("the server URL is malformed", "write it as https://host/path")
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
	case "http":
		if !oauth.IsLoopback(u.Hostname()) && !allowHTTP {
			return nil, usage("the server URL uses http, which sends tokens in the clear", "use https://"+u.Host+u.EscapedPath())
		}
	default:
		return nil, usage("the server URL must begin with https://", "")
	}
	if u.User != nil {
		return nil, usage("the server URL must not contain a user name or password", "")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// covers reports whether the session's token may be sent to u: the server's own
// origin, at or below the server's path, or where the server named its endpoint (RFC 6750,
// section 5.3: a token goes to nobody else).
func (s *session) covers(u *url.URL) bool {
	if u.Scheme == s.server.Scheme && u.Host == s.server.Host && u.Path == s.server.Path && u.RawPath == s.server.RawPath {
		return true // nearly always
	}
	return oauth.SameOrigin(s.server, u) &&
		(oauth.PathWithin(u.EscapedPath(), s.server.EscapedPath()) || s.named.has(u.EscapedPath()))
}

// coversRequest reports whether the session's token may be sent with req: to a URL that the
// session covers, or where the server redirects from there on its own origin.
func (s *session) coversRequest(req *http.Request) bool {
	for ; req != nil; req = redirectedFrom(req) {
		if s.covers(req.URL) {
			return true
		}
		if !oauth.SameOrigin(s.server, req.URL) {
			return false
		}
	}
	return false
}

func (s *session) notice(format string, args ...any) { s.c.notice(s.serverURL, format, args...) }
