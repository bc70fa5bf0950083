package handstamp

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/handstamp/handstamp/internal/oauth"
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
	current atomic.Pointer[snapshot]

	mu         sync.Mutex // guards what follows
	renewal    *flight    // the renewal under way, if any
	signIn     *flight    // the login under way, if any
	futile     time.Time  // when a server last refused a token fresh from a login
	declined   error      // how a person answered the last login: no, or not at all
	declinedAt time.Time
	unsaved    *store.Record  // a login that the store would not take
	rejected   *rejection     // the last renewal for which the configured client was rejected
	stepUps    map[string]int // by scope asked for: step-ups that did not help
	unmoved    time.Time      // when a server last refused a request after all its step-ups

	signIns  [2]time.Time // when this process last signed in, the older one first, since a token of it worked
	replaced *replacement // the token that last replaced a refused one
	logins   int          // that this process has carried out
}

// snapshot is an immutable view of a stored access token.
type snapshot struct {
	header    []string // the Authorization header's value
	oauth2    *oauth2.Token
	token     store.Secret
	tokenType string
	scope     string
	resource  string
	expiresAt time.Time // zero: unknown

	// refreshAt is when to renew, on the wall clock: the monotonic one stands
	// still while a laptop sleeps. Zero: not before the server refuses.
	refreshAt time.Time

	// unasked is set while refreshAt need not be looked at: for one glance.
	unasked atomic.Bool
}

// glance is how often the wall clock is read while requests come. It is read at
// each of them when the token is within twice that of its renewal, so that a late
// timer makes no difference.
const glance = time.Second

// fresh reports whether the token is to be used without a thought. Each request
// asks, and a clock costs more than all else that a request is asked; so the
// answer stands until a timer takes it back.
func (s *snapshot) fresh() bool {
	if s == nil {
		return false
	}
	if s.unasked.Load() || s.refreshAt.IsZero() {
		return true
	}
	left := time.Until(s.refreshAt)
	if left > 2*glance && s.unasked.CompareAndSwap(false, true) {
		time.AfterFunc(glance, func() { s.unasked.Store(false) })
	}
	return left > 0
}

// valid reports whether the token has not expired yet.
func (s *snapshot) valid(now time.Time) bool {
	return s != nil && (s.expiresAt.IsZero() || now.Before(s.expiresAt))
}

// newSnapshot returns the view of the grant's access token.
func newSnapshot(g *store.Grant) *snapshot {
	scheme := authScheme(g.TokenType)
	return &snapshot{
		header:    []string{scheme + " " + g.AccessToken.Reveal()},
		oauth2:    &oauth2.Token{AccessToken: g.AccessToken.Reveal(), TokenType: scheme, Expiry: g.ExpiresAt},
		token:     g.AccessToken,
		tokenType: scheme,
		scope:     g.ScopeGranted,
		resource:  g.Resource.Value,
		expiresAt: g.ExpiresAt,
		refreshAt: refreshTime(g, rand.Float64()),
	}
}

// authScheme spells the token type as the Authorization header wants it: some
// servers issue "bearer" and accept only "Bearer" (RFC 6750, section 2.1).
func authScheme(tokenType string) string {
	if tokenType == "" || strings.EqualFold(tokenType, "bearer") {
		return "Bearer"
	}
	return tokenType
}

// refreshTime returns when the grant is to be renewed: ahead of its expiry by a
// tenth of its life, at most a minute, give or take a fifth of that by jitter in
// [0,1), so that processes with one credential do not wake together.
func refreshTime(g *store.Grant, jitter float64) time.Time {
	if g.ExpiresAt.IsZero() {
		return time.Time{}
	}
	if g.RefreshToken == "" {
		return g.ExpiresAt.Round(0)
	}
	ahead := min(time.Minute, g.ExpiresAt.Sub(g.ObtainedAt)/10)
	ahead += time.Duration((jitter - 0.5) * 0.4 * float64(ahead))
	return g.ExpiresAt.Add(-ahead).Round(0)
}

// usable reports whether the grant's access token can be sent: it is there, has
// not expired, and is not the one that was refused.
func usable(g *store.Grant, refused store.Secret, now time.Time) bool {
	return g != nil && g.AccessToken != "" && !g.Refused && g.AccessToken != refused &&
		(g.ExpiresAt.IsZero() || now.Before(g.ExpiresAt))
}

// session returns the session of a server, the same for equal URLs.
func (c *Client) session(serverURL string) (*session, error) {
	c.init()
	u, err := parseServerURL(serverURL, c.InsecureAllowHTTP)
	if err != nil {
		return nil, err
	}
	target, _, _ := strings.Cut(serverURL, "#")
	key, err := store.NewKey(target, c.Profile)
	if err != nil {
		return nil, &Error{Kind: ErrUsage, Server: serverURL, Err: err}
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
		fetcher:   &oauth.Fetcher{HTTP: c.authTransport(u), UserAgent: userAgent},
		log:       c.Logger.With("server", key.Server),
	}
	c.sessions[key] = s
	return s, nil
}

// parseServerURL returns the URL of an MCP server, or an error that says what is
// wrong with it.
func parseServerURL(raw string, allowHTTP bool) (*url.URL, error) {
	usage := func(message, hint string) error {
		return &Error{Kind: ErrUsage, Server: raw, Message: message, Hint: hint}
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

// load reads the record, or an empty one where nothing is stored.
func (s *session) load(ctx context.Context) (*store.Record, error) {
	rec, damage, err := s.read(ctx)
	if damage != nil {
		// What is left to do is what one does without a record.
		s.notice("the stored credential could not be read and was set aside: %v", damage)
	}
	return rec, err
}

// read is load, with the damage that was found and that the store has set aside.
func (s *session) read(ctx context.Context) (rec *store.Record, damage, err error) {
	if rec := s.saveUnsaved(ctx); rec != nil {
		return rec, nil, nil
	}
	rec, err = s.c.Store.Get(ctx, s.key)
	switch {
	case err == nil:
		return rec, nil, nil
	case errors.Is(err, store.ErrCorrupt):
		damage = err
	case !isNotFound(err):
		return nil, nil, storeError(ctx, s.serverURL, err)
	}
	return &store.Record{Version: store.SchemaVersion, Key: s.key, ServerURL: s.serverURL}, damage, nil
}

// maxConflicts bounds how often a write is tried again because somebody else
// wrote in between.
const maxConflicts = 16

// update writes the record after mutate has changed it, and does both again on
// the newer record if somebody wrote in between. A mutate that returns an error
// ends it. rec is the record as last read, and holds what was written.
func (s *session) update(ctx context.Context, rec *store.Record, mutate func(*store.Record) error) (*store.Record, error) {
	for range maxConflicts {
		if err := mutate(rec); err != nil {
			return rec, err
		}
		err := s.put(ctx, rec, nil)
		if err == nil {
			return rec, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return rec, storeError(ctx, s.serverURL, err)
		}
		if rec, err = s.load(ctx); err != nil {
			return rec, err
		}
	}
	return rec, storeError(ctx, s.serverURL, store.ErrConflict)
}

// put writes the record, into the reserved room if there is some.
func (s *session) put(ctx context.Context, rec *store.Record, room store.Reservation) error {
	if room != nil {
		return room.Put(ctx, rec)
	}
	return s.c.Store.Put(ctx, rec)
}

// publish makes the record's access token what the next request is sent with.
func (s *session) publish(rec *store.Record) *snapshot {
	if rec.Grant == nil || rec.Grant.AccessToken == "" {
		s.current.Store(nil)
		return nil
	}
	snap := newSnapshot(rec.Grant)
	s.current.Store(snap)
	return snap
}

// authorization returns what to send with a request: nil if there is no usable
// token, so that the server's refusal tells how to get one. While the token is
// fresh it takes no lock and does no I/O.
func (s *session) authorization(ctx context.Context) (*snapshot, error) {
	if snap := s.current.Load(); snap.fresh() {
		return snap, nil
	}
	return s.renew(ctx, renewal{})
}

// covers reports whether the session's token may be sent to u: the server's own
// origin, at or below the server's path (RFC 6750, section 5.3: a token goes to
// nobody else).
func (s *session) covers(u *url.URL) bool {
	if u.Scheme == s.server.Scheme && u.Host == s.server.Host && u.Path == s.server.Path && u.RawPath == s.server.RawPath {
		return true // nearly always
	}
	return oauth.SameOrigin(s.server, u) && oauth.PathWithin(u.EscapedPath(), s.server.EscapedPath())
}

func (s *session) notice(format string, args ...any) { s.c.notice(s.serverURL, format, args...) }
