package lab

import (
	"net/http"
	"time"
)

// fieldPersonalities are what servers that are run today do beyond the RFCs.
func fieldPersonalities() []Personality {
	const (
		over = "Understand that the grant is over."
		// What a client sees of it: the same refresh token is never of use again.
		dead = "Returns, for a dead refresh token, "
	)
	secrets := []string{MethodPost, MethodBasic}
	return named(
		Personality{
			Name:   "form-client-id",
			Habit:  "Looks the client up by the form's client_id and rejects Basic without it; lists post before basic.",
			Seen:   "the official Python SDK since 1.24, FastMCP (modelcontextprotocol/python-sdk#3545, #1315)",
			Client: "Register for post, where it is listed.",
			Habits: Habits{Methods: secrets, FormClientID: true, RevokeWantsSecret: true},
		},
		Personality{
			Name:   "form-client-id-basic",
			Habit:  "Does the same, and registers client_secret_basic whatever is requested.",
			Seen:   "clients kept from a console of the official Python SDK (metatool-ai/metamcp#342, punkpeye/fastmcp#214)",
			Client: "Send the same Basic with client_id in the form, once, and remember that.",
			Habits: Habits{Methods: secrets, RegisterMethod: MethodBasic, FormClientID: true, RevokeWantsSecret: true},
		},
		Personality{
			Name:   "dead-in-other-words",
			Habit:  dead + "invalid_request, with a description.",
			Seen:   "servers behind obot-platform/obot#7501, FlowFuse (pull request 8547)",
			Client: over,
			Habits: Habits{DeadGrant: "invalid_request"},
		},
		Personality{
			Name:   "dead-elsewhere",
			Habit:  dead + "BAD_REFRESH_TOKEN, in a member status.",
			Seen:   "HubSpot (airbytehq/airbyte#79592)",
			Client: over,
			Habits: Habits{DeadGrantBody: `{"status":"BAD_REFRESH_TOKEN","message":"missing or unknown refresh token"}`},
		},
		Personality{
			Name:   "dead-nested",
			Habit:  dead + "INVALID_GRANT, in an object within an object.",
			Seen:   "servers made with FastAPI (softeria/ms-365-mcp-server, pull request 490)",
			Client: over,
			Habits: Habits{DeadGrantBody: `{"detail":{"error":{"code":"INVALID_GRANT"}}}`},
		},
		Personality{
			Name:   "dead-unauthorized",
			Habit:  dead + "Unauthorized, with 401 and a message that names it.",
			Seen:   "better-auth (better-auth/better-auth, pull request 8103)",
			Client: over,
			Habits: Habits{
				DeadGrantStatus: http.StatusUnauthorized, DeadGrantBody: `{"error":"Unauthorized","message":"Invalid refresh token"}`,
			},
		},
		Personality{
			Name:   "dead-silently",
			Habit:  dead + "nothing: 401 with an empty body.",
			Seen:   "gateways in front of an authorization server",
			Client: "Send it once more, two seconds later; after the same response sign in with the same client.",
			Habits: Habits{DeadGrantStatus: http.StatusUnauthorized, DeadGrantBody: ShapeEmpty},
		},
		Personality{
			Name:   "client-unauthorized",
			Habit:  "Returns 401 unauthorized for a client that it has forgotten.",
			Seen:   "servers behind cloudflare/workers-oauth-provider#154",
			Client: "Send it once more, two seconds later; after the same response find out that the client is unknown, and register again, once.",
			Habits: Habits{UnknownClientBody: `{"error":"unauthorized"}`},
		},
		Personality{
			Name:   "refresh-scope-wanted",
			Habit:  "Rejects a refresh without a scope.",
			Seen:   "Microsoft Entra, AADSTS90009 (punkpeye/mcp-remote, pull request 357; modelcontextprotocol/typescript-sdk#2718)",
			Client: "Send the scope that was requested, once it is wanted, and remember that.",
			Habits: Habits{RefreshScope: RefreshScopeRequired, ScopesSupported: []string{"tools"}},
		},
		Personality{
			Name:   "refresh-scope-rejected",
			Habit:  "Rejects a refresh with a scope.",
			Seen:   "servers behind danny-avila/LibreChat (pull request 13412)",
			Client: "Send none as long as none is wanted.",
			Habits: Habits{RefreshScope: RefreshScopeRejected, ScopesSupported: []string{"tools"}},
		},
		Personality{
			Name:   "fresh-token-waits",
			Habit:  "Rejects an access token during the first second after its issue.",
			Seen:   "servers whose stores replicate (openam-jp/openam#421), GitHub's installation tokens (octokit/auth-app.js#163)",
			Client: "Send the request again after a moment, before anything else.",
			Habits: Habits{TokenDelay: time.Second},
		},
	)
}
