package cli

import "github.com/handstamp/handstamp"

// ways is how a login obtains its tokens and authenticates, beside what the store has.
type ways struct {
	authSettings
	Key *shownKey `json:"key,omitempty"`
}

// shownKey is the client's key as users see it: never the key itself.
type shownKey struct {
	ID        string `json:"id,omitempty"`
	Algorithm string `json:"algorithm,omitempty"`
	Problem   string `json:"problem,omitempty"` // why it cannot be used
}

// ways returns the settings of a target's login with those that were saved, nil if there are none.
func (t *target) ways(saved authSettings) *ways {
	w := &ways{authSettings: t.config.authSettings.or(saved).absolute()}
	if w.authSettings == (authSettings{}) {
		return nil
	}
	switch key, err := w.key(); {
	case err != nil:
		w.Key = &shownKey{Problem: err.Error()}
	case key != nil:
		w.Key = &shownKey{ID: key.ID(), Algorithm: key.Algorithm()}
	}
	return w
}

// grantNames describe the grants that users see as such: with the others, a user signs in with a
// browser.
var grantNames = map[string]string{
	grantClientCredentials:                            "client credentials, without a user",
	"urn:ietf:params:oauth:grant-type:jwt-bearer":     "an assertion, without a user",
	"urn:ietf:params:oauth:grant-type:token-exchange": "token exchange, without a user",
	"urn:ietf:params:oauth:grant-type:device_code":    "a login on another device",
}

// obtainable notes that a workload's tokens are obtained again without a user, which the store
// alone does not tell.
func (e *entry) obtainable() {
	if e.Ways == nil || e.Ways.Grant != grantWorkload || e.GrantError != nil {
		return
	}
	e.Refreshable = true
	if e.State == handstamp.StateExpired {
		e.State = handstamp.StateRefreshable
	}
}

// writeWays prints how the tokens are obtained and what they are bound to.
func (a *app) writeWays(e *entry) {
	how := grantNames[e.GrantType]
	if w := e.Ways; w != nil && w.Grant == grantWorkload {
		how += " (" + short(w.Workload) + ")"
	}
	if e.Enterprise != "" {
		how = "enterprise login at " + short(e.Enterprise)
	}
	if how != "" {
		a.out.note(indent, "Tokens: %s", how)
	}
	if e.Account != "" {
		a.out.note(indent, "Account: %s", short(e.Account))
	}
	if e.PAR {
		a.out.note(indent, "Authorization requests: pushed to the authorization server first (PAR)")
	}
	if e.DPoP {
		a.out.note(indent, "DPoP: the token is bound to a key of this login")
	}
	if e.Ways != nil {
		a.writeFlags(e.Ways)
	}
}

// writeFlags prints what the login was configured with.
func (a *app) writeFlags(w *ways) {
	if w.DPoP == "always" || w.DPoP == "never" {
		a.out.note(indent, "DPoP: %s, as the login was made", w.DPoP)
	}
	switch k := w.Key; {
	case k == nil:
	case k.Problem != "":
		a.out.bad(indent, "%s", capital(clean(k.Problem)))
	default:
		a.out.note(indent, "Key: %s %s (%s)", k.Algorithm, clean(k.ID), clean(w.JWTKeyFile))
	}
	if file := w.ClientCertFile; file != "" {
		a.out.note(indent, "Certificate: %s", clean(file))
	}
}
