package lab

// scopePersonalities are about the scopes that are requested and granted.
func scopePersonalities() []Personality {
	return named(
		Personality{
			Name:   "offline-listed",
			Habit:  "Gives refresh tokens for offline_access, which it lists.",
			Seen:   "better-auth (buildinternet/uploads#911), Microsoft Entra (vishalsachdev/canvas-mcp#146)",
			Client: "Request it.",
			Habits: Habits{Offline: OfflineListed, ScopesSupported: []string{"tools"}},
		},
		Personality{
			Name:   "offline-forbidden",
			Habit:  "Lists offline_access and rejects requests for it; the MCP server wants the other scope that is listed.",
			Seen:   "Authelia (anthropics/claude-code#41610)",
			Client: "Request again without it, and report that the login ends with its access token.",
			Habits: Habits{Offline: OfflineForbidden, ScopesSupported: []string{"tools"}, EntryScope: "tools"},
			Tabs:   2,
		},
		Personality{
			Name:   "google-offline",
			Habit:  "Does not know offline_access; gives a refresh token for access_type=offline with prompt=consent.",
			Seen:   "Google (can1357/oh-my-pi#12438, NousResearch/hermes-agent#117510)",
			Client: "Send these parameters.",
			Habits: Habits{
				Offline: OfflineParameter, Rotation: RotateNone, ServerForm: ServerOIDCInsert,
				ScopesSupported: []string{"openid", "email", "profile"},
			},
		},
		Personality{
			Name:   "step-up",
			Habit:  "Responds to the tool call with 403 insufficient_scope, which names only the missing scope, and rejects a token with that scope alone.",
			Seen:   "the case of MCP's SEP-2350 (anthropics/claude-code#44652)",
			Client: "Request the union of the scopes, in a new authorization.",
			Habits: Habits{ChallengeScope: "tools", EntryScope: "tools", RequiredScope: "tools:call"},
			Tabs:   2,
		},
		Personality{
			Name:   "step-up-never",
			Habit:  "Responds in the same way, and never grants that scope.",
			Seen:   "servers whose administrator allows it to others only (modelcontextprotocol/typescript-sdk#1582)",
			Client: "Request it once, and then stop.",
			Habits: Habits{ChallengeScope: "tools", RequiredScope: "tools:call", NeverGrant: []string{"tools:call"}},
			Tabs:   2,
			Login:  LoginWithoutAccess,
		},
		Personality{
			Name:   "lazy-auth",
			Habit:  "Accepts initialize and list without a token, and responds with 401 to the call.",
			Seen:   "Google's MCP servers (danny-avila/LibreChat#13249, home-assistant/core#180546)",
			Client: "Sign in at the call, and repeat it.",
			Habits: Habits{LazyAuth: true},
		},
	)
}

// issPersonalities are the rows of RFC 9207 section 2.4.
func issPersonalities() []Personality {
	return named(
		Personality{
			Name:   "iss-on",
			Habit:  "Announces iss in authorization responses, and sends it.",
			Seen:   "Cloudflare workers-oauth-provider (its pull request 259)",
			Client: "Compare it, byte by byte.",
			Habits: Habits{Iss: IssOn},
		},
		Personality{
			Name:   "iss-off",
			Habit:  "Neither announces nor sends it.",
			Seen:   "most servers before 2026",
			Client: "Go on.",
			Habits: Habits{Iss: IssOff},
		},
		Personality{
			Name:   "iss-wrong",
			Habit:  "Announces it, and sends the issuer of another server.",
			Seen:   "a mix-up attack (RFC 9207 section 1)",
			Client: "Reject the authorization response.",
			Habits: Habits{Iss: IssWrong},
			Login:  LoginResponseRejected,
		},
		Personality{
			Name:   "iss-missing",
			Habit:  "Announces it, and sends none.",
			Seen:   "FastMCP until the middle of 2026 (PrefectHQ/fastmcp#4432), and a mix-up attack",
			Client: "Reject the authorization response.",
			Habits: Habits{Iss: IssMissing},
			Login:  LoginResponseRejected,
		},
	)
}
