package lab

// hostilePersonalities are those of attackers.
func hostilePersonalities() []Personality {
	const stop = "Stop before a browser opens."
	evil := func(name, habit, seen, member, value string) Personality {
		return Personality{
			Name: name, Habit: habit, Seen: seen, Client: stop, Login: LoginNotStarted,
			Habits: Habits{Endpoints: map[string]string{member: value}},
		}
	}
	endless := func(name, habit, kind string) Personality {
		return Personality{
			Name: name, Habit: habit, Seen: "any server that wants the memory of its clients", Client: "Read a bounded part, and stop.",
			Trouble: map[string][]Fault{"server_metadata": {{Kind: kind}}, "token:refresh": {{Kind: kind}}},
			Login:   LoginNotStarted,
		}
	}
	const opener = "CVE-2025-6514 in mcp-remote (punkpeye/mcp-remote#247)"
	return named(
		Personality{
			Name: "forged-callback", Habit: "A page in the same browser calls the client's redirect URI with a code of its own.",
			Seen: "login CSRF (RFC 6749 section 10.12)", Client: "Check state, and keep waiting for the response to its own request.",
			Forged: true,
		},
		evil("hostile-script", "Names a javascript: URL as its authorization endpoint.", opener,
			"authorization_endpoint", "javascript:alert(document.domain)"),
		evil("hostile-file", "Names a file: URL as its authorization endpoint.", opener,
			"authorization_endpoint", "file:///etc/passwd"),
		evil("hostile-shell", "Names an authorization endpoint with shell characters.", opener,
			"authorization_endpoint", "ORIGIN/authorize?a=$(touch hostile)`touch hostile`"),
		evil("hostile-private", "Names a link-local address as its token endpoint.", "server-side request forgery (MCP security best practices)",
			"token_endpoint", "http://169.254.169.254/latest/meta-data"),
		evil("hostile-clear", "Names a token endpoint on another origin, without TLS.", "any downgrade",
			"token_endpoint", "http://token.elsewhere.test/token"),
		endless("hostile-huge", "Responds with 10 MiB.", FaultHuge),
		endless("hostile-bomb", "Responds with little gzip that is 64 MiB.", FaultGzipBomb),
	)
}
