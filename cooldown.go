package handstamp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/textlist"
	"github.com/handstamp/handstamp/secret"
)

// A definitive rejection of a client or of its registration is remembered in the
// record, so that no process sends the same request again at once: a host calls
// as often as it likes, and the user has to change something first. Each further
// rejection doubles the cooldown.
const (
	firstCooldown = 30 * time.Second
	maxCooldown   = 15 * time.Minute

	// cooldownRequests is how many rejected requests there may be within
	// cooldownWindow of the first one.
	cooldownRequests = 3
	cooldownWindow   = 5 * time.Minute
)

// rejectedClient is everything that a rejection was about. A change of any of it
// ends the cooldown.
type rejectedClient struct {
	issuer, endpoint string
	id               string // "" for a registration
	method           string // as configured, else as stored
	secret           secret.String
	scope            string // as configured
	key              string // the thumbprint of the configured key
	certificate      string // the configured one, in DER
}

// fingerprint identifies the subject without telling the secret.
func (r rejectedClient) fingerprint(id string) string {
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write(textlist.Append(nil,
		r.issuer, r.endpoint, r.id, r.method, r.secret.Reveal(), r.scope, r.key, r.certificate))
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

// rejectedClient returns the subject of a rejection of a client; nil stands for
// one that is to be registered.
func (cfg *configuration) rejectedClient(issuer, endpoint string, c *record.Client) rejectedClient {
	subject := rejectedClient{issuer: issuer, endpoint: endpoint, scope: strings.Join(cfg.Scopes, " ")}
	if c == nil {
		subject.secret = cfg.InitialAccessToken + secret.String(cfg.SoftwareStatement)
		return subject
	}
	subject.key = keyThumbprint(cfg.Key, oauth.MethodPrivateKeyJWT)
	if cfg.Certificate != nil && len(cfg.Certificate.Certificate) > 0 {
		subject.certificate = string(cfg.Certificate.Certificate[0])
	}
	c = cfg.withConfiguredSecret(c)
	subject.id, subject.method, subject.secret = c.ID, c.Method, c.Secret
	if r := cfg.configurationFor(c); r != nil {
		subject.method = r.TokenEndpointAuthMethod
	}
	if cfg.Key != nil {
		subject.method += " " + cfg.Key.ID()
	}
	return subject
}

// loginCooldown returns the cooldown that an automatic login has to wait for, or nil. It
// needs no discovery: where the server names another issuer by now, the login
// after the cooldown finds out.
func (cfg *configuration) loginCooldown(rec *record.Record, now time.Time) *record.Cooldown {
	active := activeCooldown(rec, now, func(e record.Cooldown) rejectedClient {
		return cfg.rejectedClient(e.Issuer, e.Endpoint, cfg.loginClient(rec, e.Issuer))
	})
	if document := cfg.ClientMetadataURL; active == nil && document != "" && cfg.activeRegistration() == nil {
		active = activeCooldown(rec, now, func(e record.Cooldown) rejectedClient {
			c := &record.Client{Issuer: e.Issuer, ID: document, Method: documentMethod(cfg.Key)}
			return cfg.rejectedClient(e.Issuer, e.Endpoint, c)
		})
	}
	return active
}

// loginClient returns the client of a login at an issuer, or nil for one that is to be registered:
// a stored client that no login can replace serves the next one too.
func (cfg *configuration) loginClient(rec *record.Record, issuer string) *record.Client {
	if r := cfg.activeRegistration(); r != nil {
		return &record.Client{Issuer: issuer, ID: r.ClientID, Secret: r.ClientSecret}
	}
	if c := rec.NewestClient(issuer); c != nil && c.Source == record.SourceConfigured {
		return c
	}
	return nil
}

// activeCooldown returns the cooldown of a subject that is not over, or nil. An end later than
// maxCooldown was noted under a clock that ran ahead.
func activeCooldown(rec *record.Record, now time.Time, subject func(record.Cooldown) rejectedClient) *record.Cooldown {
	for i, e := range rec.Cooldowns {
		if now.Before(e.Until) && e.Until.Sub(now) <= maxCooldown && errorKinds[e.Kind] != nil &&
			e.Fingerprint == subject(e).fingerprint(e.ID) {
			return &rec.Cooldowns[i]
		}
	}
	return nil
}

// cooldown returns the rejection that a cooldown is for.
func (f errorFactory) cooldown(e *record.Cooldown) error {
	hint := fmt.Sprintf("it is tried again in %v, or at once by a login", time.Until(e.Until).Round(time.Second))
	if e.Hint != "" {
		hint = e.Hint + "; " + hint
	}
	return &Error{Kind: errorKinds[e.Kind], Server: f.serverURL, Message: e.Message, Code: e.Code, Hint: hint, RetryAt: e.Until}
}

// beginCooldown notes a rejection in the record, which the caller stores.
func beginCooldown(rec *record.Record, subject rejectedClient, requests int, rejection *Error, now time.Time) {
	i := slices.IndexFunc(rec.Cooldowns, func(e record.Cooldown) bool { return e.Fingerprint == subject.fingerprint(e.ID) })
	if i < 0 {
		id := rand.Text()
		rec.Cooldowns = append(rec.Cooldowns, record.Cooldown{
			ID: id, Fingerprint: subject.fingerprint(id), Issuer: subject.issuer, Endpoint: subject.endpoint, First: now.UTC(),
		})
		i = len(rec.Cooldowns) - 1
	}
	e := &rec.Cooldowns[i]
	e.Code, e.Message, e.Hint = rejection.Code, rejection.Message, rejection.Hint
	if e.Message == "" && rejection.Err != nil {
		e.Message = rejection.Err.Error()
	}
	if at := rejection.RetryAt; !at.IsZero() { // the server has named it
		e.Until, e.Hint = now.Add(min(at.Sub(now), maxCooldown)).UTC(), ""
	} else {
		lengthenCooldown(e, requests, now)
	}
	e.Kind = kindName(rejection.Kind)
	const most = 8 // other configurations of the same server
	rec.Cooldowns = rec.Cooldowns[max(0, len(rec.Cooldowns)-most):]
}

// lengthenCooldown counts a rejection after so many requests.
func lengthenCooldown(e *record.Cooldown, requests int, now time.Time) {
	if e.First.After(now) { // noted under a clock that ran ahead
		e.First = now.UTC()
	}
	e.Tries++
	e.Requests += requests
	e.Until = now.Add(min(firstCooldown<<min(e.Tries-1, 10), maxCooldown)).UTC()
	if end := e.First.Add(cooldownWindow); e.Requests >= cooldownRequests && e.Until.Before(end) {
		e.Until = end
	}
}

// endCooldowns forgets the cooldowns of a record because the user signs in.
func (l *logins) endCooldowns(ctx context.Context, rec *record.Record) (*record.Record, error) {
	if len(rec.Cooldowns) == 0 {
		return rec, nil
	}
	return l.records.update(ctx, rec, func(rec *record.Record) error {
		rec.Cooldowns = nil
		return nil
	})
}

// noteRejection begins a cooldown for the client that this login was rejected
// with; nil stands for its registration. It returns the rejection.
func (l *loginState) noteRejection(ctx context.Context, c *record.Client, endpoint string, requests int, rejection *Error) error {
	subject := l.config.rejectedClient(l.plan.server.Issuer, endpoint, c)
	l.remember(ctx, "the rejection", func(rec *record.Record) {
		beginCooldown(rec, subject, requests, rejection, time.Now())
	})
	return rejection
}

// A server whose tokens never last gets a login for every request, and each login
// looks reasonable by itself. So the automatic ones are counted in the record, over
// all processes and before the browser opens. Those of [Client.Login] are not: the
// user is there. A login that another process has done opened no browser
// here, and is that process's to count.
const (
	// loginWindow is the time in which automatic logins are counted.
	loginWindow = 10 * time.Minute

	// maxAutomaticLogins is how many of them may open a browser in that time, at
	// one issuer.
	maxAutomaticLogins = 3

	// maxAutomaticLoginsTotal is the same for all issuers together: a server may
	// name another one each time.
	maxAutomaticLoginsTotal = 6

	// maxLoginTabs is how often one login opens the browser. More than once is
	// for a rejected resource or scope, another method or another client.
	maxLoginTabs = 3
)

// ceiling returns an error of kind [ErrLoginRequired] if as many automatic logins
// have opened a browser as may.
func (l *logins) ceiling(rec *record.Record, issuer string, now time.Time) error {
	var all, here []time.Time
	for _, login := range recentLogins(rec.AutomaticLogins, now) {
		all = append(all, login.At)
		if oauth.SameButSlash(login.Issuer, issuer) {
			here = append(here, login.At)
		}
	}
	var again time.Time // when one more is allowed
	if n := len(here); n >= maxAutomaticLogins {
		again = here[n-maxAutomaticLogins].Add(loginWindow)
	}
	if n := len(all); n >= maxAutomaticLoginsTotal {
		if total := all[n-maxAutomaticLoginsTotal].Add(loginWindow); total.After(again) {
			again = total
		}
	}
	if again.IsZero() {
		return nil
	}
	return &Error{Kind: ErrLoginRequired, Server: l.serverURL, RetryAt: again, Hint: "sign in to " + addressOf(l.serverURL),
		Message: fmt.Sprintf("requests have opened the browser %d times in %d minutes, and need a login again; none opens by itself before %s",
			len(all), loginWindow/time.Minute, again.Local().Format(time.TimeOnly))}
}

// recentLogins returns the logins that count, the oldest first. One in the future was
// recorded under a clock that ran ahead.
func recentLogins(logins []record.AutomaticLogin, now time.Time) []record.AutomaticLogin {
	logins = slices.DeleteFunc(slices.Clone(logins), func(l record.AutomaticLogin) bool {
		return now.Sub(l.At).Abs() >= loginWindow
	})
	slices.SortStableFunc(logins, func(a, b record.AutomaticLogin) int { return a.At.Compare(b.At) })
	return logins
}

// countTab counts a browser that is about to be opened: for this login, and the first
// one of an automatic login in the record.
func (l *loginFlow) countTab(ctx context.Context) error {
	if l.tabs++; l.tabs > maxLoginTabs {
		return &Error{Kind: ErrProtocol, Server: l.serverURL,
			Message: fmt.Sprintf("the authorization server has rejected %d logins in a row, each for another reason", maxLoginTabs)}
	}
	if l.byUser || l.tabs > 1 {
		return nil
	}
	now := time.Now().UTC()
	l.remember(ctx, "an automatic login", func(rec *record.Record) {
		rec.AutomaticLogins = append(recentLogins(rec.AutomaticLogins, now),
			record.AutomaticLogin{At: now, Issuer: l.plan.server.Issuer})
	})
	return nil
}

// atCeiling reports whether the error is that of [logins.ceiling]: no other
// login that is required has a time.
func (e *Error) atCeiling() bool { return !e.RetryAt.IsZero() }
