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
	AuditRegistration = "registration" // a client was registered
)

// The attributes of these records, all of them strings or, where it says so, booleans. One that has
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

// audit makes a record for the application's audit log.
func (c *credential) audit(what, outcome string, more ...slog.Attr) {
	to := c.config.Audit
	if to == nil {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, what, 0)
	r.AddAttrs(slog.String(AuditServer, addressOf(c.serverURL)),
		slog.String(AuditProfile, c.records.key.Profile), slog.String(AuditOutcome, outcome))
	for _, a := range more {
		if !a.Value.Equal(slog.StringValue("")) {
			r.AddAttrs(a)
		}
	}
	c.events.guarded(func() {
		if ctx := context.Background(); to.Enabled(ctx, r.Level) {
			_ = to.Handle(ctx, r)
		}
	})
}

// refreshed reports how a refresh ended.
func (c *credential) refreshed(e RefreshEvent) {
	c.audit(AuditRefresh, e.Outcome,
		slog.String(AuditIssuer, e.Issuer), slog.Bool(AuditRotated, e.Rotated))
	if c.config.Hooks.Refreshed != nil {
		c.config.Hooks.Refreshed(e)
	}
}

// loggedIn reports how a login ended.
func (c *credential) loggedIn(e LoginEvent) {
	c.audit(AuditLogin, e.Outcome,
		slog.String(AuditIssuer, e.Issuer), slog.String(AuditScope, e.Scope))
	if c.config.Hooks.LoggedIn != nil {
		c.config.Hooks.LoggedIn(e)
	}
}

// loggedOut reports a logout. last has the grant that was removed, or is nil.
func (c *credential) loggedOut(last *record.Record, result *LogoutResult) {
	if last == nil {
		return
	}
	c.audit(AuditLogout, "signed_out",
		slog.String(AuditIssuer, last.Grant.Issuer), slog.Bool(AuditRevoked, result.Revoked))
}
