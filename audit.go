package handstamp

import (
	"context"
	"log/slog"
	"time"

	"github.com/handstamp/handstamp/internal/record"
)

// The messages of the records that [Client.Audit] receives.
const (
	AuditLogin        = "login"        // a user has signed in, or has not
	AuditRefresh      = "refresh"      // a token was refreshed, or not
	AuditLogout       = "logout"       // a login was removed here
	AuditRegistration = "registration" // a client was registered, or was not
)

// The attributes of these records, all of them strings or, where noted, booleans. One that has
// no value is left out.
const (
	AuditServer   = "server"    // the URL of the MCP server, without a query
	AuditProfile  = "profile"   // that of the Client
	AuditOutcome  = "outcome"   // as in [LoginEvent] and [RefreshEvent]; "signed_out", "registered"
	AuditIssuer   = "issuer"    // the authorization server
	AuditClientID = "client_id" // of a registration
	AuditScope    = "scope"     // of a login, as granted
	AuditRotated  = "rotated"   // boolean, of a refresh: there is a new refresh token
	AuditRevoked  = "revoked"   // boolean, of a logout: the server confirmed the revocation
)

// The attributes that package hosted adds: who.
const (
	AuditTenant = "tenant"
	AuditUser   = "user"
)

// outcomes reports how the refreshes, logins and logouts of a credential end: to the application's
// audit log, and to its hooks.
type outcomes struct {
	config          *configuration
	server, profile string
	events          *narrator
	held            *[]func() // nil: the application is called at once
}

// hold returns outcomes that reach the application when report is called.
func (o *outcomes) hold() (held *outcomes, report func()) {
	var calls []func()
	copied := *o
	copied.held = &calls
	return &copied, func() {
		for _, call := range calls {
			o.call(call)
		}
	}
}

// call calls the application.
func (o *outcomes) call(application func()) {
	if o.held != nil {
		*o.held = append(*o.held, application)
		return
	}
	o.events.guarded(application)
}

// audit makes a record for the audit log.
func (o *outcomes) audit(what, outcome string, more ...slog.Attr) {
	to := o.config.Audit
	if to == nil {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, what, 0)
	r.AddAttrs(slog.String(AuditServer, addressOf(o.server)),
		slog.String(AuditProfile, o.profile), slog.String(AuditOutcome, outcome))
	for _, a := range more {
		if !a.Value.Equal(slog.StringValue("")) {
			r.AddAttrs(a)
		}
	}
	o.call(func() {
		if ctx := context.Background(); to.Enabled(ctx, r.Level) {
			_ = to.Handle(ctx, r)
		}
	})
}

// refreshed reports how a refresh ended.
func (o *outcomes) refreshed(e RefreshEvent) {
	o.audit(AuditRefresh, e.Outcome,
		slog.String(AuditIssuer, e.Issuer), slog.Bool(AuditRotated, e.Rotated))
	if o.config.Hooks.Refreshed != nil {
		o.call(func() { o.config.Hooks.Refreshed(e) })
	}
}

// loggedIn reports how a login ended.
func (o *outcomes) loggedIn(e LoginEvent) {
	o.audit(AuditLogin, e.Outcome,
		slog.String(AuditIssuer, e.Issuer), slog.String(AuditScope, e.Scope))
	if o.config.Hooks.LoggedIn != nil {
		o.call(func() { o.config.Hooks.LoggedIn(e) })
	}
}

// loggedOut reports a logout. last has the grant that was removed, or is nil.
func (o *outcomes) loggedOut(last *record.Record, result *LogoutResult) {
	if last == nil {
		return
	}
	o.audit(AuditLogout, "signed_out",
		slog.String(AuditIssuer, last.Grant.Issuer), slog.Bool(AuditRevoked, result.Revoked))
}
