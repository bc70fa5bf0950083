package lab

// consentPersonalities are about how the user's consent comes back to the client.
func consentPersonalities() []Personality {
	return named(
		Personality{
			Name:   "consent-by-post",
			Habit:  "Redirects the form of its consent page with 307, so that the browser posts it to the client.",
			Seen:   "frameworks whose plain redirect keeps the method, such as Starlette's",
			Client: "Take the posted callback as any other.",
			Habits: Habits{Consent: ConsentPost},
		},
	)
}
