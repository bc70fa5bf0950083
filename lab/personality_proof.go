package lab

// nonceUses is after how many requests the MCP server of a personality changes its nonce: seldom
// enough for a client that is many processes and repeats a request once.
const nonceUses = 50

// proofWindow lets a test move the servers' clock and not the client's.
const proofWindow = 5 * day

// proofPersonalities are about keys and about the user's authentication.
func proofPersonalities() []Personality {
	return named(
		Personality{
			Name:   "dpop-listed-only",
			Habit:  "Has an authorization server that lists DPoP and an MCP server that knows Bearer only.",
			Seen:   "any MCP server behind an authorization server that was there before (RFC 9449 section 5.1)",
			Client: "Use bearer tokens: the authorization server's list says nothing about the resource.",
			Habits: Habits{DPoP: DPoP{Supported: true, Window: proofWindow}},
		},
		Personality{
			Name:   "dpop-offered",
			Habit:  "Takes bearer tokens, and lists DPoP in the resource's metadata too.",
			Seen:   "the transition that RFC 9449 section 7.2 describes",
			Client: "Bind the tokens to a key, which later sessions need, and never send one as Bearer.",
			Habits: Habits{DPoP: DPoP{Supported: true, Window: proofWindow, Resource: DPoPOffered}},
		},
		Personality{
			Name:   "dpop-required",
			Habit:  "Rejects bearer tokens, as its metadata states, and takes ES256 only.",
			Seen:   "the MCP extension for DPoP (modelcontextprotocol/modelcontextprotocol, SEP-1932)",
			Client: "Bind the tokens to a key, with a proof for every request.",
			Habits: Habits{DPoP: DPoP{
				Supported: true, Window: proofWindow, Resource: DPoPRequired,
				Algorithms: []string{AlgES256},
			}},
		},
		Personality{
			Name:   "dpop-challenged",
			Habit:  "Rejects bearer tokens; only its challenge shows that.",
			Seen:   "RFC 9449 section 7.1; no resource has to have the metadata of RFC 9728 section 2",
			Client: "Bind the tokens to a key because of the challenge, and remember that.",
			Habits: Habits{DPoP: DPoP{Supported: true, Window: proofWindow, Resource: DPoPChallenged}},
		},
		Personality{
			Name:   "dpop-registered",
			Habit:  "Registers clients with dpop_bound_access_tokens, and rejects their token requests without a proof.",
			Seen:   "RFC 9449 section 5.2",
			Client: "Bind the tokens to a key because of the registration response.",
			Habits: Habits{DPoP: DPoP{
				Supported: true, Window: proofWindow, Resource: DPoPSilent, RegisterBound: true,
			}},
		},
		Personality{
			Name:   "dpop-nonces",
			Habit:  "Wants a nonce in each proof: a new one for each token request, and one that changes at the MCP server.",
			Seen:   "Bluesky (atproto.com/specs/oauth), Okta (developer.okta.com)",
			Client: "Keep the nonce of each server, and repeat a request once with the one that it sends.",
			Habits: Habits{DPoP: DPoP{
				Supported: true, Window: proofWindow, Resource: DPoPRequired,
				ServerNonce: 1, ResourceNonce: nonceUses,
			}},
		},
		Personality{
			Name:   "par-required",
			Habit:  "Takes authorization requests only if they were pushed.",
			Seen:   "servers of the FAPI 2.0 security profile, Bluesky (atproto.com/specs/oauth)",
			Client: "Push the request (RFC 9126).",
			Habits: Habits{PAR: PARRequired},
		},
		Personality{
			Name:   "user-authentication",
			Habit:  "Responds to a tool call with 401 insufficient_user_authentication until the user has signed in with acr gold.",
			Seen:   "RFC 9470",
			Client: "Log in with the acr_values of the challenge, and remember them.",
			Habits: Habits{StepUp: StepUp{ACR: []string{"gold"}}},
			Tabs:   2,
		},
		Personality{
			Name:   "updated-secret",
			Habit:  "Gives out secrets that end after a day, and new ones for an update of the registration.",
			Seen:   "RFC 7592 section 2.2",
			Client: "Update the registration before the secret is used, or register again.",
			Habits: Habits{
				RegisterMethod: MethodBasic, SecretLifetime: day, ManageClients: true,
				Registrations: Registrations{RotateToken: true, ReplaceSecret: true},
			},
		},
		Personality{
			Name:   "initial-token",
			Habit:  "Registers clients only with an initial access token.",
			Seen:   "Keycloak, Curity (RFC 7591 section 3)",
			Client: "Report it, with issuer and redirect URI.",
			Habits: Habits{Registrations: Registrations{InitialToken: "for-the-administrator"}},
			Login:  LoginNotStarted,
		},
		Personality{
			Name:   "key-only",
			Habit:  "Takes private_key_jwt and no other method.",
			Seen:   "servers of the FAPI 2.0 security profile",
			Client: "Report it, with issuer and redirect URI, unless a key is configured.",
			Habits: Habits{Methods: []string{MethodPrivateKeyJWT}},
			Login:  LoginNotStarted,
		},
	)
}
