package lab

import "net/http"

// resourcePersonalities are about the resource parameter (RFC 8707).
func resourcePersonalities() []Personality {
	return named(
		Personality{
			Name:   "resource-rejected",
			Habit:  "Rejects the resource parameter in every request.",
			Seen:   "Microsoft Entra, AADSTS9010010 (punkpeye/mcp-remote#217, modelcontextprotocol/python-sdk#2578)",
			Client: "Go on without it, and remember.",
			Habits: Habits{Resource: ResourceRejected},
			Tabs:   2,
		},
		Personality{
			Name:   "resource-demanded",
			Habit:  "Wants the same resource on every leg; a refresh without it gets 400, and the refresh token becomes invalid.",
			Seen:   "AWS (CommandCodeAI/command-code#692), Atlassian (anomalyco/opencode#34592), Sentry (anomalyco/opencode#46316)",
			Client: "Send identical bytes on every leg.",
			Habits: Habits{Resource: ResourceRequired},
		},
		Personality{
			Name:   "resource-slash",
			Habit:  "Names the resource with a slash at its end, and wants it like that.",
			Seen:   "GitHub, the other way round (microsoft/vscode#259251)",
			Client: "Send the metadata's own string.",
			Habits: Habits{ResourceName: NameSlash, Resource: ResourceRequired},
		},
		Personality{
			Name:   "resource-origin",
			Habit:  "Names its bare origin as the resource, and wants that.",
			Seen:   "Slack (PrimeIntellect-ai/prime-agent, pull request 2357)",
			Client: "Send the metadata's own string, with no slash added.",
			Habits: Habits{ResourceName: NameOrigin, Resource: ResourceRequired},
		},
		Personality{
			Name:   "resource-query",
			Habit:  "Names the resource with a query that the server URL does not have.",
			Seen:   "Sentry (anomalyco/opencode#46316, getsentry/sentry-mcp, pull request 837)",
			Client: "Send the metadata's own string.",
			Habits: Habits{ResourceName: NameQuery, Resource: ResourceRequired},
		},
	)
}

// discoveryPersonalities are about where the servers describe themselves, and
// which others they name.
func discoveryPersonalities() []Personality {
	down := []Fault{{Kind: FaultStatus, Status: http.StatusServiceUnavailable}}
	return named(
		Personality{
			Name:   "issuer-slash",
			Habit:  "Has an issuer with a slash at its end, which the resource names without.",
			Seen:   "JumpCloud (anomalyco/opencode#50036), Ory Hydra (ory/hydra#1482), Google the other way round (home-assistant/core#180546)",
			Client: "Accept the difference, and keep the metadata's own string.",
			Habits: Habits{IssuerSlash: SlashMetadata},
		},
		Personality{
			Name:   "issuer-elsewhere",
			Habit:  "Has metadata with the issuer of another server.",
			Seen:   "PagerDuty (PagerDuty/pagerduty-mcp-server#169)",
			Client: "Stop, and report why.",
			Habits: Habits{MetadataIssuer: "https://issuer.elsewhere.test"},
			Login:  LoginNotStarted,
		},
		Personality{
			Name:   "issuer-moved",
			Habit:  "The MCP server names another authorization server after the first login.",
			Seen:   "the case of MCP's SEP-2352 (modelcontextprotocol/php-sdk#361)",
			Client: "Sign in there, and send it nothing that belongs to the old one.",
			Habits: Habits{RegisterMethod: MethodPost},
			Moves:  true,
		},
		Personality{
			Name:   "oidc-append",
			Habit:  "Has OpenID metadata only, after the issuer's path.",
			Seen:   "Keycloak (epam/ai-dial-core#1685)",
			Client: "Find it.",
			Habits: Habits{IssuerPath: "/realms/lab", ServerForm: ServerOIDCAppend},
		},
		Personality{
			Name:   "oidc-insert",
			Habit:  "Has OpenID metadata only, before the issuer's path.",
			Seen:   "Okta's custom servers (MCPJam/inspector#1002)",
			Client: "Find it.",
			Habits: Habits{IssuerPath: "/oauth2/lab", ServerForm: ServerOIDCInsert},
		},
		Personality{
			Name:   "path-insert",
			Habit:  "Has RFC 8414 metadata for an issuer with a path, and none at the root.",
			Seen:   "LaunchDarkly's Gram (can1357/oh-my-pi#6755)",
			Client: "Find it.",
			Habits: Habits{IssuerPath: "/oauth/lab"},
		},
		Personality{
			Name:   "root-only",
			Habit:  "Has no resource metadata, and the server's at the MCP server's root.",
			Seen:   "Atlassian (atlassian/atlassian-mcp-server#148)",
			Client: "Find it.",
			Habits: Habits{ResourceForm: ResourceNone, OneOrigin: true},
		},
		Personality{
			Name:   "defaults-only",
			Habit:  "Has no metadata at all, and its endpoints where MCP had them in 2025-03-26.",
			Seen:   "servers of that age (aws/amazon-q-developer-cli#3638)",
			Client: "Fall back to /authorize, /token and /register.",
			Habits: Habits{ResourceForm: ResourceNone, ServerForm: ServerNone, OneOrigin: true, Iss: IssOff},
		},
		Personality{
			Name:    "metadata-down",
			Habit:   "Responds to every well-known request with 503 after the first login.",
			Seen:    "any server on a bad day (langchain-ai/deepagents, pull request 3685)",
			Client:  "Refresh at the stored token endpoint.",
			Trouble: map[string][]Fault{"server_metadata": down, "resource_metadata": down},
		},
	)
}
