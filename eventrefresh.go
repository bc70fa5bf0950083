package handstamp

import (
	"net/http"
	"strconv"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// rejectedRequest reports a request of the application that the MCP server rejected with a token,
// or without one.
func (n *narrator) rejectedRequest(used *cachedToken, resp *http.Response) {
	if !n.listens() || resp.Request == nil {
		return
	}
	x := oauth.Exchange{Purpose: purposeServer, Sent: time.Now()}
	x = oauth.Observed(x, resp.Request, resp, n.secretsBeside(used))
	x.Duration = 0 // the request was not timed: it is one of the application
	n.exchange(x)
}

// refreshBegins reports why a refresh begins.
func (n *narrator) refreshBegins(rec *record.Record, need tokenNeed) {
	if !n.listens() {
		return
	}
	why := "the access token is about to expire"
	switch at := rec.Grant.ExpiresAt; {
	case need.disowns(rec.Grant.AccessToken):
		why = "the access token does not work"
	case !at.IsZero() && time.Now().After(at):
		why = "the access token has expired"
	case need.minTTL > 0:
		why = "the access token is needed for longer than it lives"
	}
	if refreshInterrupted(rec) {
		why += ", and a refresh before did not come to its end"
	}
	n.decide(StepRefresh, aboutGrant, "refresh_token", why)
}

// refreshEnds reports how a refresh ended.
func (n *narrator) refreshEnds(token *cachedToken, e RefreshEvent) {
	fields := []EventField{{"issuer", e.Issuer}, {"rotated", yesOrNo(e.Rotated)}}
	if e.Replayed {
		fields = append(fields, EventField{"repeated", "yes"})
	}
	switch {
	case e.Err != nil:
		n.fail(StepRefresh, e.Err, "the refresh did not succeed")
	case token == nil:
		n.report(StepRefresh, "the authorization server has ended the login")
	default:
		if !token.expiresAt.IsZero() {
			expiry := token.expiresAt.UTC().Format(time.RFC3339)
			fields = append(fields, EventField{"expires_at", expiry})
		}
		n.detail(StepRefresh, "the refresh is done", fields...)
	}
}

// stored reports what is in the store, where that is new to this process.
func (r *records) stored(rec *record.Record) {
	if !r.events.listens() {
		return
	}
	r.mu.Lock()
	known := r.announced != nil && *r.announced == rec.Revision
	r.announced = &rec.Revision
	r.mu.Unlock()
	switch {
	case known:
	case rec.Grant == nil:
		r.events.report(StepStore, "no login is stored")
	case rec.GrantError != nil:
		r.events.detail(StepStore, "the stored login was ended by the server",
			EventField{"code", rec.GrantError.Code})
	default:
		r.events.detail(StepStore, "a login is stored", grantFields(rec.Grant)...)
	}
}

// written reports an entry in the store.
func (r *records) written(rec *record.Record, began time.Time, err error, what string) {
	if !r.events.listens() {
		return
	}
	if err != nil {
		r.events.fail(StepStore, err, "the credential could not be %s", what)
		return
	}
	r.mu.Lock()
	revision := rec.Revision
	r.announced = &revision
	r.mu.Unlock()
	took := time.Since(began).Round(time.Microsecond)
	r.events.detail(StepStore, "the credential is "+what, EventField{"took", took.String()})
}

// lockNames are what the locks are for.
var lockNames = map[store.LockName]string{
	store.LockLogin: "a login", store.LockRefresh: "a refresh",
	store.LockLoginHelper: "a helper's login", store.LockRefreshHelper: "a helper's refresh",
}

// lockWait is a wait for another process.
type lockWait struct {
	events   *narrator
	name     store.LockName
	began    time.Time
	reported bool
}

// look reports, once, that there is something to wait for.
func (w *lockWait) look() {
	if !w.reported {
		w.reported = true
		w.events.report(StepLock, "waiting for %s of another process", lockNames[w.name])
	}
}

// end reports how a wait that was reported ended.
func (w *lockWait) end(how string, err error) {
	if w.reported || err != nil {
		w.events.deliver(Event{Step: StepLock, Message: how, Error: errorText(err), Details: []EventField{
			{"waited_ms", strconv.FormatInt(time.Since(w.began).Milliseconds(), 10)},
		}})
	}
}

// pauses reports that nothing is sent until a time.
func (n *narrator) pauses(what string, until time.Time, reason string) {
	n.detail(StepCooldown, what+" is left alone for a while",
		EventField{"until", until.UTC().Format(time.RFC3339)}, EventField{"reason", reason})
}
