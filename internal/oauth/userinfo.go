package oauth

import (
	"context"
	"encoding/json"
	"net/http"
)

// Userinfo returns the claims about the user of an access token (OpenID Connect Core section 5.3).
// The prover is nil for a bearer token. Any failure is an error: no login depends on the claims.
func (f *Fetcher) Userinfo(ctx context.Context, endpoint string, token Secret, prover Prover) (map[string]json.RawMessage, error) {
	if _, err := parseEndpoint("the userinfo endpoint", endpoint); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, documentTimeout)
	defer cancel()
	req, err := f.request(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	if prover != nil {
		proof, err := prover.Proof(http.MethodGet, endpoint, token)
		if err != nil {
			return nil, err
		}
		req.Header["Authorization"], req.Header["Dpop"] = []string{"DPoP " + token.Reveal()}, []string{proof}
	}
	carried := f.addKnownSecrets(redactor{token.Reveal()})
	rt, done := f.newConnection()
	defer done()
	a, err := f.roundTrip(rt, req, maxDocument, Exchange{Purpose: PurposeUser})
	if err != nil {
		return nil, carried.redactError(err)
	}
	a.redactor = carried
	if prover != nil {
		prover.NoteNonce(endpoint, a.header)
	}
	if a.status != http.StatusOK {
		return nil, a.reply("userinfo").failure()
	}
	o, err := readDocument(a.body)
	if err != nil {
		return nil, err
	}
	claims := make(map[string]json.RawMessage, len(o.members))
	for _, m := range o.members {
		claims[m.name] = m.value
	}
	return claims, nil
}
