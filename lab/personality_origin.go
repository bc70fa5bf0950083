package lab

import "net/http"

// originPersonalities are about the places that a server names.
func originPersonalities() []Personality {
	return named(
		Personality{
			Name:   "challenge-elsewhere",
			Habit:  "Names, in its challenge, resource metadata on a host that only it can reach.",
			Seen:   "servers behind a proxy (MARS#203, bayes-platform, pull request 710)",
			Client: "Look at the server's own well-known places.",
			Habits: Habits{ChallengeMetadata: "http://inner.elsewhere.test:8000/.well-known/oauth-protected-resource/mcp"},
		},
		Personality{
			Name:   "issuers-several",
			Habit:  "Names three authorization servers, of which the first two have no metadata.",
			Seen:   "a server that keeps naming what it has left (modelcontextprotocol/python-sdk, pull request 3398)",
			Client: "Use the first that can be used.",
			Habits: Habits{ListedBefore: []string{"ORIGIN/retired", "ORIGIN/gone"}},
		},
		Personality{
			Name:   "metadata-split",
			Habit:  "Has two metadata documents, and registration and PKCE in the second one only.",
			Seen:   "Spring Authorization Server, the other way round (spring-attic/spring-authorization-server#1302)",
			Client: "Complete the one with the other.",
			Habits: Habits{SplitMetadata: true},
		},
		Personality{
			Name:   "slash-redirect",
			Habit:  "Redirects the MCP server, the token endpoint and registration to a slash, with 307.",
			Seen:   "Starlette's mounts (zoho/analytics-mcp-server, pull request 22, BerriAI/litellm, pull request 23758)",
			Client: "Follow, on the same origin.",
			Habits: Habits{SlashRedirect: http.StatusTemporaryRedirect, RegisterMethod: MethodPost},
		},
		Personality{
			Name:   "slash-redirect-301",
			Habit:  "Does the same with 301.",
			Seen:   "a client that makes a GET of it (modelcontextprotocol/modelcontextprotocol#2755)",
			Client: "Follow, with the same method.",
			Habits: Habits{SlashRedirect: http.StatusMovedPermanently, RegisterMethod: MethodPost},
		},
		Personality{
			Name:   "hostile-browser",
			Habit:  "Names a link-local address as its authorization endpoint.",
			Seen:   "server-side request forgery through the browser (MCP security best practices)",
			Client: "Stop before a browser opens.",
			Habits: Habits{Endpoints: map[string]string{"authorization_endpoint": "https://169.254.169.254/latest/meta-data"}},
			Login:  LoginNotStarted,
		},
	)
}
