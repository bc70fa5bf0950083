package lab

import "net/http"

// awkward holds what Basic has to form-encode (RFC 6749 section 2.3.1).
const awkward = "%+ :/&="

// methodPersonalities are about how a client authenticates at the token
// endpoint.
func methodPersonalities() []Personality {
	secret := true
	return named(
		Personality{
			Name:   "none-first",
			Habit:  "Lists none first, and registers client_secret_post whatever is requested.",
			Seen:   "WorkOS AuthKit (modelcontextprotocol/csharp-sdk#1611)",
			Client: "Use the registered method in every session.",
			Habits: NoneFirst(),
		},
		Personality{
			Name:   "basic-first-public",
			Habit:  "Lists client_secret_basic before none, and takes a public client.",
			Seen:   "Auth0 (modelcontextprotocol/csharp-sdk, pull request 1615)",
			Client: "Send the id in the body and no Authorization header.",
			Habits: Habits{Methods: []string{MethodBasic, MethodPost, MethodNone}, RegisterMethod: MethodNone},
		},
		Personality{
			Name:   "registers-otherwise",
			Habit:  "Registers client_secret_basic although none was requested, with a secret that Basic has to encode.",
			Seen:   "Keycloak (keycloak/keycloak#44403)",
			Client: "Use the method of the response, form-encode id and secret, and remember both.",
			Habits: Habits{RegisterMethod: MethodBasic, SecretAlphabet: awkward, RejectRepeatedID: true},
		},
		Personality{
			Name:   "secret-no-method",
			Habit:  "Gives a secret and names no method; a token request without the secret gets 422 and JSON that is no OAuth error.",
			Seen:   "Supabase (NousResearch/hermes-agent#29680)",
			Client: "Send the secret.",
			Habits: Habits{
				RegisterMethod: MethodPost, RegisterSilent: true,
				InvalidClientStatus: http.StatusUnprocessableEntity, InvalidClientShape: ShapeJSON, UnknownClientCode: "invalid_client",
			},
		},
		Personality{
			Name:   "none-but-demands",
			Habit:  "Registers none, gives a secret all the same, and then demands it.",
			Seen:   "Figma (NousResearch/hermes-agent, pull request 73141)",
			Client: "Go one step down the ladder of methods, once, and remember.",
			Habits: Habits{
				Methods: []string{MethodPost}, RegisterMethod: MethodNone, RegisterSecret: &secret, EnforceMethod: MethodPost,
			},
		},
		Personality{
			Name:   "lists-basic-takes-post",
			Habit:  "Lists client_secret_basic first, names no method in the registration, and takes the secret in the body only.",
			Seen:   "servers behind archestra-ai/archestra#7977",
			Client: "Try the other method once, with the same code, which is not used; be right at once in the next session.",
			Habits: Habits{Methods: []string{MethodBasic, MethodPost}, RegisterMethod: MethodBasic, RegisterSilent: true, EnforceMethod: MethodPost},
		},
	)
}

// registrationPersonalities are about who is registered, and who still is.
func registrationPersonalities() []Personality {
	return named(
		Personality{
			Name:   "forgot-client-page",
			Habit:  "Shows an unknown client 422 at the authorization endpoint and never redirects; its token endpoint calls the grant invalid.",
			Seen:   "Supabase (microsoft/vscode#254847, supabase/mcp#355), better-auth (better-auth/better-auth#11035)",
			Client: "Look before a browser opens, and register again.",
			Habits: Habits{UnknownClientStatus: http.StatusUnprocessableEntity, UnknownClientCode: "invalid_grant"},
		},
		Personality{
			Name:   "forgot-client-token",
			Habit:  "Responds to a refresh by an unknown client with 401 invalid_client.",
			Seen:   "FastMCP (openai/codex#29630)",
			Client: "Register again, once; tell the user about a configured client and leave it alone.",
			Habits: Habits{RegisterMethod: MethodPost},
		},
		Personality{
			Name:   "expiring-secret",
			Habit:  "Gives out secrets that end after a day, as client_secret_expires_at says.",
			Seen:   "reported of the Python SDK's clients (modelcontextprotocol/python-sdk#3256)",
			Client: "Do not use a secret past its end: register again.",
			Habits: Habits{RegisterMethod: MethodBasic, SecretLifetime: day},
		},
		Personality{
			Name:   "exact-redirect",
			Habit:  "Compares redirect URIs byte by byte, the port too.",
			Seen:   "Asana (anthropics/claude-code#55067), servers behind punkpeye/mcp-remote#72",
			Client: "Come back to the registered port.",
			Habits: Habits{RedirectExact: true},
		},
		Personality{
			Name:      "port-taken",
			Habit:     "Compares redirect URIs likewise, and another program has the port since the first login.",
			Seen:      "servers behind punkpeye/mcp-remote#72",
			Client:    "Refresh with the client that it has; for a login register a second one, with another port.",
			Habits:    Habits{RedirectExact: true},
			PortTaken: true,
		},
		Personality{
			Name:   "grants-enforced",
			Habit:  "Gives refresh tokens only to clients that registered for them.",
			Seen:   "Ory Hydra, Glean (stacklok/toolhive#3078)",
			Client: "Register for both grants.",
			Habits: Habits{GrantsEnforced: true},
		},
		Personality{
			Name:   "dcr-allowlist",
			Habit:  "Registers clients of certain names; the others get 403 in plain text.",
			Seen:   "Figma (anthropics/claude-code#74768, punkpeye/mcp-remote#186)",
			Client: "Report where the user can register a client, with issuer and redirect URI.",
			Habits: Habits{ClosedRegistration: RegistrationAllowlist},
			Login:  LoginNotStarted,
		},
		Personality{
			Name:   "dcr-off",
			Habit:  "Has a registration endpoint that is switched off.",
			Seen:   "WorkOS AuthKit (workos.com/docs)",
			Client: "Report it, with issuer and redirect URI.",
			Habits: Habits{ClosedRegistration: RegistrationOff},
			Login:  LoginNotStarted,
		},
		Personality{
			Name:   "no-dcr",
			Habit:  "Has no registration endpoint.",
			Seen:   "HubSpot (NousResearch/hermes-agent, pull request 112023), GitHub (mark3labs/mcp-go#643), Slack",
			Client: "Report it, with issuer and redirect URI.",
			Habits: Habits{NoRegistration: true, Methods: []string{MethodPost}},
			Login:  LoginNotStarted,
		},
		Personality{
			Name:   "no-pkce-listed",
			Habit:  "Has metadata without code_challenge_methods_supported.",
			Seen:   "Amazon Cognito (anthropics/claude-code#67258, anthropics/claude-ai-mcp#946)",
			Client: "Stop, as the MCP specification requires, unless the user allows it.",
			Habits: Habits{OmitPKCE: true},
			Login:  LoginNotStarted,
		},
	)
}
