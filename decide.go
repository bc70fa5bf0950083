package handstamp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// What a stored record means for a caller that needs a token. Everything in this file is a pure
// function of the record, the need, the configuration and the time.

// graceWindow is how long an interrupted refresh is repeated at once, even though the access
// token is still good: servers that accept a repeated refresh token do so for 30 to 60 seconds.
const graceWindow = time.Minute

// tokenNeed describes the token that a caller needs. The zero value is one that
// is not about to expire.
type tokenNeed struct {
	rejected secret.String // the token that the server has rejected
	force    secret.String // the token that the caller reports not to work
	minTTL   time.Duration // how long the token has to be valid
	user     bool          // a user waits for it: the pause after a refresh that failed is skipped
	ahead    bool          // none waits: it is to be refreshed as early as aheadTime
}

// disowns reports whether the need is for another token than this one, because it
// does not work. A rejected refresh is final then, whatever the token's expiry.
func (n tokenNeed) disowns(token secret.String) bool {
	return token != "" && (token == n.rejected || token == n.force)
}

// accepts reports whether a token with this expiry (zero: unknown) serves the need.
func (n tokenNeed) accepts(token secret.String, expiresAt, now time.Time) bool {
	return !n.disowns(token) && (expiresAt.IsZero() || !now.Add(n.minTTL).After(expiresAt))
}

// metBy reports whether the grant's access token serves the need.
func (n tokenNeed) metBy(g *record.Grant, now time.Time) bool {
	return g.Usable(n.rejected, now) && n.accepts(g.AccessToken, g.ExpiresAt, now)
}

// action is what to do for a token.
type action int

const (
	requestToken  action = iota // send the refresh token
	useStored                   // the stored access token serves
	loginNeeded                 // there is nothing to refresh with
	awaitRetry                  // wait until the record's Retry: the authorization server failed
	awaitCooldown               // wait until the cooldown is over: the client was rejected
)

// decision is what a record means for a need.
type decision struct {
	action   action
	cooldown *record.Cooldown // with awaitCooldown
}

// decide decides what to do for a token.
func decide(rec *record.Record, need tokenNeed, cfg *configuration, now time.Time) decision {
	g := rec.Grant
	if g == nil {
		return decision{action: loginNeeded}
	}
	good := need.metBy(g, now)
	refreshable := g.RefreshToken != "" && cfg.refreshable(rec, now)
	switch {
	case refreshable && refreshUnfinished(rec, now):
		return decision{action: requestToken}
	case good && (!refreshable || !refreshDue(g, now) && !(need.ahead && aheadDue(g, now))):
		return decision{action: useStored}
	case !refreshable:
		return decision{action: loginNeeded}
	}
	d := refreshPause(rec, need, cfg, now)
	if good && d.action != requestToken {
		return decision{action: useStored}
	}
	return d
}

// refreshPause decides whether a refresh has to wait.
func refreshPause(rec *record.Record, need tokenNeed, cfg *configuration, now time.Time) decision {
	if retryPending(rec.Retry, now) && !need.user && !earlyRejectionOver(rec, need, now) {
		return decision{action: awaitRetry}
	}
	g, c := rec.Grant, rec.GrantClient()
	active := activeCooldown(rec, now, func(record.Cooldown) rejectedClient {
		return cfg.rejectedClient(g.Issuer, g.TokenEndpoint, c)
	})
	if active != nil && !need.user {
		return decision{action: awaitCooldown, cooldown: active}
	}
	return decision{action: requestToken}
}

// refreshUnfinished reports whether an interrupted refresh is to be finished at once: its response
// was saved and not read, or the server may still accept a repetition.
func refreshUnfinished(rec *record.Record, now time.Time) bool {
	return refreshInterrupted(rec) &&
		(rec.Intent.Response != nil || !rec.Intent.Sent && now.Sub(rec.Intent.At) < graceWindow)
}

// refreshInterrupted reports whether a refresh of the stored refresh token was begun
// and its end not recorded.
func refreshInterrupted(rec *record.Record) bool {
	return rec.Intent != nil && rec.Grant != nil &&
		rec.Intent.Fingerprint == fingerprint(rec.Intent.ID, rec.Grant.RefreshToken)
}

// refreshDue reports whether it is time to refresh ahead of expiry, as early as jitter may have
// it: a caller whose jitter is early would otherwise request a refresh and get none.
func refreshDue(g *record.Grant, now time.Time) bool {
	at := refreshTime(g, 1)
	return !at.IsZero() && !now.Before(at)
}

// refreshTime returns when the grant is to be refreshed: ahead of its expiry by a
// tenth of its life, at most a minute, give or take a fifth of that by jitter in
// [0,1), so that processes with one credential do not wake together.
func refreshTime(g *record.Grant, jitter float64) time.Time {
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

// retryPending reports whether the authorization server is to be left alone. A time so
// far off that no server can have named it was noted under a clock that ran ahead.
func retryPending(r *record.Retry, now time.Time) bool {
	return r != nil && now.Before(r.NotBefore) && (r.Failures == 0 || r.NotBefore.Sub(now) <= oauth.MaxRetryAfter)
}

// rejectedEarly reports whether the last refresh was rejected while the access
// token was good, so that the next one waits for its expiry.
func rejectedEarly(rec *record.Record) bool { return rec.Retry != nil && rec.Retry.Failures == 0 }

// earlyRejectionOver reports whether the record waits with the refresh only because
// one was rejected while the access token was good, and now that token does not
// work either: it was not too early, then.
func earlyRejectionOver(rec *record.Record, need tokenNeed, now time.Time) bool {
	return rejectedEarly(rec) && (need.disowns(rec.Grant.AccessToken) || !rec.Grant.Usable("", now))
}

// refreshable reports whether the client that the grant is bound to is still
// believed to be known to its issuer, and can authenticate there.
func (cfg *configuration) refreshable(rec *record.Record, now time.Time) bool {
	c, g := rec.GrantClient(), rec.Grant
	if g.ClientID == "" && g.RefreshToken == "" && g.Type != "" {
		return true // obtained without a client, which cannot have become unknown
	}
	if f := rec.GrantError; f != nil && (f.Guessed || f.Interrupted) {
		return false // the refresh token is only kept
	}
	return c != nil && !c.Rejected && !cfg.belongsElsewhere(c) &&
		(cfg.replaceable(c, g, now) || !secretExpired(cfg.withConfiguredSecret(c), g, now))
}

// secretExpired reports whether a client cannot authenticate any more because its
// secret has ended (RFC 7591, section 3.2.1, client_secret_expires_at). A grant
// obtained with it after that shows that the server does not mean it, or that the
// two clocks disagree.
func secretExpired(c *record.Client, g *record.Grant, now time.Time) bool {
	if c.Secret == "" || c.Method == oauth.MethodNone || !hasPassed(c.SecretExpiresAt, now) {
		return false
	}
	return g == nil || g.ClientID != c.ID || g.Issuer != c.Issuer || !g.ObtainedAt.After(c.SecretExpiresAt)
}

// hasPassed reports whether a time that may be unset is over.
func hasPassed(t, now time.Time) bool { return !t.IsZero() && now.After(t) }

// fingerprint tells whether a refresh token is the one an intent was about,
// without telling the token.
func fingerprint(id string, token secret.String) string {
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write([]byte(token.Reveal()))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// importIncomplete reports whether the record holds an imported login of which it is
// not known yet where to refresh or revoke it.
func importIncomplete(rec *record.Record) bool {
	return rec.Grant != nil && rec.Grant.TokenEndpoint == "" && rec.GrantClient() != nil
}
