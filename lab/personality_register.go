package lab

import "net/http"

// negotiationPersonalities are about what a registration may request, and what a server accepts
// of it later.
func negotiationPersonalities() []Personality {
	secret := true
	return named(
		Personality{
			Name:   "no-scope-at-registration",
			Habit:  "Rejects a registration that names a scope, with 403 insufficient_scope.",
			Seen:   "Keycloak (keycloak/keycloak#43654)",
			Client: "Register without scope, and remember that.",
			Habits: Habits{
				ScopesSupported: []string{"tools"},
				RejectRegistrations: []RegistrationRule{{
					Has: "scope", Status: http.StatusForbidden, Error: "insufficient_scope",
					Description: "Policy 'Allowed Client Scopes' rejected request to client-registration service. Details: Not permitted to use specified clientScope",
				}},
			},
		},
		Personality{
			Name:   "localhost-only",
			Habit:  "Registers web clients with a redirect URI on localhost, and rejects 127.0.0.1 and native clients.",
			Seen:   "reported of several home-made servers, and of better-auth the other way round (better-auth/better-auth#10913)",
			Client: "Register what is accepted, and listen where the browser then goes.",
			Habits: Habits{
				RedirectExact: true,
				RejectRegistrations: []RegistrationRule{
					{Has: "redirect_host:127.0.0.1", Error: "invalid_redirect_uri", Description: "redirect_uris must be https, or http://localhost"},
					{Has: "application_type:native", Error: "invalid_client_metadata", Description: "application_type must be web"},
				},
			},
		},
		Personality{
			Name:   "secret-beside-none",
			Habit:  "Lists and registers none, gives a secret all the same, and then demands it.",
			Seen:   "Context7 (upstash/context7#2009)",
			Client: "Try the secret once when none is rejected, and remember.",
			Habits: Habits{
				Methods: []string{MethodNone}, RegisterMethod: MethodNone, RegisterSecret: &secret, EnforceMethod: MethodPost,
			},
		},
		Personality{
			Name:   "offline-not-allowed",
			Habit:  "Lists offline_access, lets the user consent to it, and rejects the code exchange with not_allowed.",
			Seen:   "Keycloak, for users without the role offline_access",
			Client: "Sign in once more without it, and remember that.",
			Habits: Habits{Offline: OfflineNotAllowed, ScopesSupported: []string{"tools"}},
			Tabs:   2,
		},
	)
}
