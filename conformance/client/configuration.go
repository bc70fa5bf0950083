package main

import (
	"context"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/conformance/given"
	"github.com/handstamp/handstamp/secret"
)

// configured returns a client for what the suite says is registered, if anything is.
func configured(g *given.Given) (*handstamp.Client, error) {
	client := &handstamp.Client{
		ClientName:        "Handstamp conformance client",
		ClientMetadataURL: given.MetadataURL,
		Prompt:            handstamp.Prompt{Authorize: authorize},
	}
	if g.ClientID != "" {
		client.Registration = &handstamp.Registration{
			Issuer: g.Issuer, ClientID: g.ClientID, ClientSecret: secret.String(g.ClientSecret),
		}
	}
	if g.PrivateKey != "" {
		key, err := clientkey.Parse([]byte(g.PrivateKey), clientkey.Options{Algorithm: g.Algorithm})
		if err != nil {
			return nil, err
		}
		client.Key = key
	}
	switch g.Grant() {
	case given.ClientCredentials:
		client.Grant = handstamp.ClientCredentials{}
	case given.Workload:
		client.Grant = handstamp.JWTBearer{Assertion: token(g.Assertion)}
	case given.Enterprise:
		client.Grant = handstamp.Enterprise{
			Issuer: g.ProviderIssuer, ClientID: g.ProviderClientID, IDToken: token(g.ProviderIDToken),
		}
	}
	return client, nil
}

// token returns a source of a token that the suite hands over.
func token(value string) handstamp.AssertionSource {
	return func(context.Context, handstamp.GrantTarget) (secret.String, error) {
		return secret.String(value), nil
	}
}
