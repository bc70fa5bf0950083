package lab

import (
	"net/http"
	"time"
)

// rotationPersonalities are about what becomes of a refresh token.
func rotationPersonalities() []Personality {
	lost := map[string][]Fault{"token:refresh": {{Kind: FaultCutAfter, Times: 1}}}
	return named(
		Personality{
			Name:   "rotates-strictly",
			Habit:  "Rotates refresh tokens; one that comes twice revokes everything.",
			Seen:   "Auth0 with its default leeway of 0 (anthropics/claude-code#84440), Exa (#85236), Notion (damianvtran/local-operator, pull request 345)",
			Client: "Refresh once, for any number of processes.",
			Habits: Habits{Rotation: RotateStrict},
		},
		Personality{
			Name:    "rotates-with-grace",
			Habit:   "Accepts a used refresh token again for a while; here the first response gets lost.",
			Seen:    "Linear: 30 minutes (anthropics/claude-code#85236); Okta, Amazon Cognito: up to a minute (their documentation)",
			Client:  "Repeat a request whose response was lost.",
			Habits:  Habits{Rotation: RotateGrace, Grace: 30 * time.Second},
			Trouble: lost,
		},
		Personality{
			Name:    "lost-response",
			Habit:   "Rotates strictly, and the connection is cut after it has.",
			Seen:    "any server without grace, behind any network",
			Client:  "Sign in once more with the same client, report why, and do not loop.",
			Habits:  Habits{Rotation: RotateStrict},
			Trouble: lost,
		},
		Personality{
			Name:   "keeps-refresh-token",
			Habit:  "Responds to a refresh without a refresh token.",
			Seen:   "Google, Okta with persistent tokens (modelcontextprotocol/python-sdk#2270), Wiz (knowsuchagency/mcp2cli#58)",
			Client: "Keep the one it has.",
			Habits: Habits{Rotation: RotateNone},
		},
		Personality{
			Name:   "flaky",
			Habit:  "Responds to refreshes with 503, 429, an HTML page with 502, nothing for two seconds, and a reset connection, one after the other.",
			Seen:   "everywhere (google-gemini/gemini-cli#29048)",
			Client: "Lose nothing, open no browser, and refresh when it is over.",
			Trouble: map[string][]Fault{"token:refresh": {
				{Kind: FaultStatus, Status: http.StatusServiceUnavailable, Times: 1},
				{Kind: FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: "1", Times: 1},
				{Kind: FaultHTML, Status: http.StatusBadGateway, Times: 1},
				{Kind: FaultHang, Delay: 2 * time.Second, Times: 1},
				{Kind: FaultCutBefore, Times: 1},
			}},
		},
	)
}

// expiryPersonalities are about the stated lifetime of access tokens.
func expiryPersonalities() []Personality {
	const use = "Unknown is unknown: use the token until it is rejected, then refresh."
	return named(
		Personality{
			Name:   "no-expiry",
			Habit:  "Does not report how long access tokens live.",
			Seen:   "GitHub OAuth Apps (Consensys/ask-o11y-plugin, pull request 187)",
			Client: use,
			Habits: Habits{ExpiresIn: ExpiresOmitted},
		},
		Personality{
			Name:   "expiry-string",
			Habit:  "Sends expires_in as a string.",
			Seen:   "Microsoft Entra (LibreChat-AI/librechat.ai#420)",
			Client: "Read it.",
			Habits: Habits{ExpiresIn: ExpiresString},
		},
		Personality{
			Name:   "expiry-zero",
			Habit:  "Sends expires_in: 0 for tokens that work.",
			Seen:   "servers without expiry that fill the member in",
			Client: use,
			Habits: Habits{ExpiresIn: ExpiresZero},
		},
		Personality{
			Name:   "jwt-expiry",
			Habit:  "States the expiry only in the access token, a JWT.",
			Seen:   "servers with JWT access tokens and no expires_in",
			Client: use,
			Habits: Habits{ExpiresIn: ExpiresOmitted, AccessTokenJWT: true},
		},
	)
}

// responsePersonalities are about the form of the token endpoint's responses.
func responsePersonalities() []Personality {
	return named(
		Personality{
			Name:   "form-responses",
			Habit:  "Responds form-encoded, errors too.",
			Seen:   "GitHub (vercel/ai#10899, modelcontextprotocol/python-sdk#1523)",
			Client: "Read that as well as JSON.",
			Habits: Habits{FormResponses: true},
		},
		Personality{
			Name:   "errors-in-200",
			Habit:  "Returns errors with status 200.",
			Seen:   "GitHub (modelcontextprotocol/typescript-sdk#1342), Slack (anthropics/claude-code#33704)",
			Client: "Use the error, not the status.",
			Habits: Habits{ErrorsIn200: true},
		},
		Personality{
			Name:   "odd-error-code",
			Habit:  "Returns unauthorized_client for a dead refresh token.",
			Seen:   "Atlassian (openai/codex#27165)",
			Client: "Understand that the grant is over.",
			Habits: Habits{DeadGrant: "unauthorized_client"},
		},
		Personality{
			Name:   "odd-error-member",
			Habit:  "Has its error code in error_code, and one of its own.",
			Seen:   "Supabase Auth (supabase/auth#2829)",
			Client: "Understand that the grant is over.",
			Habits: Habits{ErrorMember: ErrorCode, DeadGrant: "refresh_token_not_found"},
		},
	)
}
