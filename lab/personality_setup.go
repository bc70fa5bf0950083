package lab

// setupPersonalities are about what an administrator arranges before the first login.
func setupPersonalities() []Personality {
	return named(
		Personality{
			Name:   "machine-secret",
			Habit:  "Gives a client with a secret tokens of its own.",
			Seen:   "any server with the MCP extension for client credentials (SEP-1046)",
			Client: "Obtain one token for all processes, and open no browser when the client is rejected.",
			Habits: Habits{
				Grants: []string{GrantClientCredentials}, NoRegistration: true,
				Methods: []string{MethodBasic, MethodPost},
			},
			Setup: &Setup{Way: WayClientCredentials, Method: MethodBasic},
		},
		Personality{
			Name:   "machine-key",
			Habit:  "Gives a client with a key tokens of its own, and takes each assertion once, for its issuer.",
			Seen:   "the MCP extension for client credentials (SEP-1046), RFC 7523bis section 4",
			Client: "Sign an assertion for each token request, with the issuer as its audience.",
			Habits: Habits{
				Grants: []string{GrantClientCredentials}, NoRegistration: true,
				Methods: []string{MethodPrivateKeyJWT},
			},
			Setup: &Setup{Way: WayClientCredentials, Method: MethodPrivateKeyJWT},
		},
		Personality{
			Name:   "workload",
			Habit:  "Takes the identity token of the platform that the client runs on.",
			Seen:   "the MCP extension for workload identity (SEP-1933), Kubernetes' projected tokens",
			Client: "Read the platform's token for each token request: the platform replaces it.",
			Habits: Habits{Grants: []string{GrantJWTBearer}, NoRegistration: true},
			Setup:  &Setup{Way: WayWorkload},
		},
		Personality{
			Name:   "token-exchange",
			Habit:  "Exchanges the token of a service's caller.",
			Seen:   "RFC 8693; Keycloak, Okta, Microsoft Entra",
			Client: "Exchange the caller's token, and never send it to the MCP server.",
			Habits: Habits{
				Grants: []string{GrantTokenExchange}, NoRegistration: true,
				Methods: []string{MethodBasic},
			},
			Setup: &Setup{Way: WayTokenExchange, Method: MethodBasic},
		},
		Personality{
			Name:   "enterprise",
			Habit:  "Takes the ID-JAGs of a company's identity provider.",
			Seen:   "Enterprise-Managed Authorization (SEP-990); Okta's Cross App Access",
			Client: "Sign in at the company once, and obtain later tokens without the user.",
			Habits: Habits{
				Grants: []string{GrantJWTBearer}, NoRegistration: true, Methods: []string{MethodBasic},
			},
			Setup: &Setup{Way: WayEnterprise, Method: MethodBasic},
		},
		Personality{
			Name:   "device-code",
			Habit:  "Lets the user sign in on another device, who enters the code by hand.",
			Seen:   "RFC 8628; GitHub, Microsoft Entra, Keycloak",
			Client: "Show the page and the code, and poll no faster than the interval.",
			Habits: Habits{
				Grants: []string{GrantDeviceCode}, NoRegistration: true,
				Device: Device{Interval: 1, OmitComplete: true},
			},
			Setup: &Setup{Way: WayDevice},
		},
		Personality{
			Name:   "key-configured",
			Habit:  "Takes private_key_jwt and no other method, and knows the client's key.",
			Seen:   "servers of the FAPI 2.0 security profile",
			Client: "Authenticate with the key at every refresh too.",
			Habits: Habits{Methods: []string{MethodPrivateKeyJWT}, NoRegistration: true},
			Setup:  &Setup{Way: WayCode, Method: MethodPrivateKeyJWT},
		},
		Personality{
			Name:   "certificate",
			Habit:  "Authenticates clients by their TLS certificates, on a port of its own.",
			Seen:   "RFC 8705 section 5; servers of the FAPI profiles, Keycloak",
			Client: "Present the certificate at the endpoints of mtls_endpoint_aliases.",
			Habits: Habits{
				Methods: []string{MethodTLS}, NoRegistration: true, MTLS: MTLS{Aliases: true},
			},
			Setup: &Setup{Way: WayCode, Method: MethodTLS},
		},
	)
}
