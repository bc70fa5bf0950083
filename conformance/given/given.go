// Package given reads what the official suite hands a client: what a user would
// have put into the configuration of a real one.
package given

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
)

// MetadataURL is the client ID metadata document that the suite knows (its
// scenario for them compares the URL and does not fetch it).
const MetadataURL = "https://conformance-test.local/client-metadata.json"

// AssertionEnv names the member of the suite's context to take as the workload's
// token, for tests of a token that is to be rejected.
const AssertionEnv = "CONFORMANCE_ASSERTION"

// Given is what the suite hands a client beside the server's URL.
type Given struct {
	// Revision is the revision of the MCP specification to speak.
	Revision string `json:"-"`

	// Scenario is the scenario's name.
	Scenario string `json:"-"`

	// The registered client.
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Issuer       string `json:"issuer"`

	// The registered client's key, a PEM block, and the algorithm to sign with.
	PrivateKey string `json:"private_key_pem"`
	Algorithm  string `json:"signing_algorithm"`

	// The company's identity provider, the client registered there, and the id
	// token of the user's login there.
	ProviderIssuer        string `json:"idp_issuer"`
	ProviderTokenEndpoint string `json:"idp_token_endpoint"`
	ProviderClientID      string `json:"idp_client_id"`
	ProviderIDToken       string `json:"idp_id_token"`

	// Assertion is the workload's token.
	Assertion string `json:"valid_jwt"`

	// ToolCalls are the calls to make; nil: each tool once.
	ToolCalls []Call `json:"toolCalls"`
}

// Call is a call of a tool.
type Call struct {
	Name      string         `json:"name"`
	Arguments map[string]any `json:"arguments"`
}

// Grant is how a client obtains tokens, as its configuration would say.
type Grant int

const (
	AuthorizationCode Grant = iota // a user signs in with a browser
	ClientCredentials
	Workload   // the workload's token is the grant (RFC 7523)
	Enterprise // the company's identity provider issues the grant
)

// Grant returns the grant of the registered client.
func (g *Given) Grant() Grant {
	switch {
	case strings.HasPrefix(g.Scenario, "auth/client-credentials-"):
		return ClientCredentials
	case g.Assertion != "":
		return Workload
	case g.ProviderIssuer != "":
		return Enterprise
	default:
		return AuthorizationCode
	}
}

// Read reads the environment.
func Read() (*Given, error) {
	g := Given{
		Revision: os.Getenv("MCP_CONFORMANCE_PROTOCOL_VERSION"),
		Scenario: os.Getenv("MCP_CONFORMANCE_SCENARIO"),
	}
	if raw := os.Getenv("MCP_CONFORMANCE_CONTEXT"); raw != "" {
		if err := json.Unmarshal([]byte(raw), &g); err != nil {
			return nil, errors.New("the suite's context is no JSON object")
		}
		if name := os.Getenv(AssertionEnv); name != "" {
			var members map[string]any
			if err := json.Unmarshal([]byte(raw), &members); err != nil {
				return nil, err
			}
			g.Assertion, _ = members[name].(string)
		}
	}
	return &g, nil
}
