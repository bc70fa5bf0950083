package lab

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StepUp is the user authentication that the MCP server requires of tools/call (RFC 9470). The zero
// value requires none.
type StepUp struct {
	// ACR are the authentication context class references of which one must be the token's; they
	// are the challenge's acr_values.
	ACR []string `json:"acr,omitempty"`
	// MaxAge is how many seconds ago the user may have signed in; it is the challenge's max_age.
	MaxAge int `json:"max_age,omitempty"`
}

// authentication is how and when the user of a grant signed in.
type authentication struct {
	acr     string
	at      time.Time
	account string
}

// signIn returns the user's authentication for an authorization request. The user stays signed in:
// the request has the user sign in again with prompt=login, with a max_age that has passed, or with
// another acr. The caller holds s.mu.
func (s *Server) signIn(x *exchange) authentication {
	now := s.clock.now()
	signed := &s.state.signedIn
	acr := ""
	if values := strings.Fields(x.form.Get("acr_values")); len(values) > 0 {
		acr = values[0]
	}
	maxAge, err := strconv.Atoi(x.form.Get("max_age"))
	again := signed.at.IsZero() || slices.Contains(strings.Fields(x.form.Get("prompt")), "login") ||
		acr != "" && acr != signed.acr ||
		err == nil && now.Sub(signed.at) > time.Duration(maxAge)*time.Second
	if again {
		*signed = authentication{acr: acr, at: now}
	}
	out := *signed
	out.acr = acr // a login tells about nothing that it was not requested for
	out.account = s.accountFor(x.form.Get("login_hint"))
	return out
}

// defaultAccount is who signs in where nothing names another account.
const defaultAccount = "user@lab.test"

// accountFor is the account that signs in with a login_hint.
func (s *Server) accountFor(hint string) string {
	switch {
	case hint != "":
		return hint
	case s.state.account != "":
		return s.state.account
	}
	return defaultAccount
}

// SetAccount makes account the user who signs in from now on, where an authorization request has no
// login_hint. Empty means user@lab.test.
func (s *Server) SetAccount(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.account = account
}

// checkStepUp returns the challenge of RFC 9470 section 3 if the user's authentication is not
// enough, or nil.
func (s *Server) checkStepUp(x *exchange, by authentication) *response {
	required := s.habits.StepUp
	if x.rpc != "tools/call" || len(required.ACR) == 0 && required.MaxAge == 0 {
		return nil
	}
	age := s.clock.now().Sub(by.at)
	if (len(required.ACR) == 0 || slices.Contains(required.ACR, by.acr)) &&
		(required.MaxAge == 0 || !by.at.IsZero() && age <= time.Duration(required.MaxAge)*time.Second) {
		return nil
	}
	failed := s.unauthorized(x, http.StatusUnauthorized, "insufficient_user_authentication", "")
	more := ""
	if len(required.ACR) > 0 {
		more += `, acr_values="` + strings.Join(required.ACR, " ") + `"`
	}
	if required.MaxAge > 0 {
		more += `, max_age="` + strconv.Itoa(required.MaxAge) + `"`
	}
	for i, challenge := range failed.header["Www-Authenticate"] {
		if strings.Contains(challenge, "insufficient_user_authentication") {
			failed.header["Www-Authenticate"][i] = challenge + more
		}
	}
	return &failed
}

// checkDetails returns what is wrong with authorization_details (RFC 9396 section 2), or nothing.
func (s *Server) checkDetails(raw string) (why string) {
	if raw == "" {
		return ""
	}
	var details []struct {
		Type string `json:"type"`
	}
	if json.Unmarshal([]byte(raw), &details) != nil || len(details) == 0 {
		return "not an array of objects"
	}
	for _, detail := range details {
		if !slices.Contains(s.habits.DetailTypes, detail.Type) {
			return "a type that is not in authorization_details_types_supported"
		}
	}
	return ""
}
