package handstamp_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// A service signs itself in with the secret of its client. It could have a Key or a Certificate in
// place of the secret.
func ExampleClientCredentials() {
	server, err := lab.Start(lab.Habits{Grants: []string{lab.GrantClientCredentials}}) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.RegisterClient(lab.ConfiguredClient{ID: "nightly-report", Secret: "a secret"})

	client := &handstamp.Client{
		Grant:        handstamp.ClientCredentials{},
		Registration: &handstamp.Registration{ClientID: "nightly-report", ClientSecret: "a secret"},
	}
	show(client.HTTPClient(server.MCPURL()), server.MCPURL())
	// Output: 200 OK
}

// A workload presents the identity token of its platform. There is no client and no secret to keep.
// AssertionFromFile and its like return sources for the common platforms.
func ExampleJWTBearer() {
	server, err := lab.Start(lab.Habits{Grants: []string{lab.GrantJWTBearer}}) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	token := identityToken(server)

	client := &handstamp.Client{
		Grant: handstamp.JWTBearer{
			Assertion: func(context.Context, handstamp.GrantTarget) (secret.String, error) { return token, nil },
		},
	}
	show(client.HTTPClient(server.MCPURL()), server.MCPURL())
	// Output: 200 OK
}

// A platform, such as Kubernetes, keeps the workload's identity token in a file, and replaces it
// before it expires.
func ExampleAssertionFromFile() {
	client := &handstamp.Client{
		Grant: handstamp.JWTBearer{
			Assertion: handstamp.AssertionFromFile("/var/run/secrets/mcp/token"),
		},
	}
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}

// A program prints the workload's identity token: here that of Vault.
func ExampleAssertionFromCommand() {
	client := &handstamp.Client{
		Grant: handstamp.JWTBearer{
			Assertion: handstamp.AssertionFromCommand("vault", "read", "-field=token", "identity/oidc/token/agent"),
		},
	}
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}

// A service calls an MCP server for its own caller: it exchanges the caller's token for one that the
// MCP server accepts.
func ExampleTokenExchange() {
	server, err := lab.Start(lab.Habits{Grants: []string{lab.GrantTokenExchange}}) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.RegisterClient(lab.ConfiguredClient{ID: "gateway", Secret: "a secret"})
	received := identityToken(server) // with the request that the service handles

	client := &handstamp.Client{
		Grant: handstamp.TokenExchange{
			SubjectToken: func(context.Context, handstamp.GrantTarget) (secret.String, error) {
				return received, nil
			},
			SubjectTokenType: handstamp.TokenTypeJWT,
		},
		Registration: &handstamp.Registration{
			Issuer: server.Issuer(), ClientID: "gateway", ClientSecret: "a secret", // the token goes to no other
		},
	}
	show(client.HTTPClient(server.MCPURL()), server.MCPURL())
	// Output: 200 OK
}

// The user signs in once at the company's identity provider, for all MCP servers that the company
// allows.
func ExampleEnterprise() {
	company, err := lab.Start(lab.Habits{OpenID: true, Grants: []string{lab.GrantTokenExchange}}) // stand for real ones
	if err != nil {
		log.Fatal(err)
	}
	defer company.Close()
	server, err := lab.Start(lab.Habits{Grants: []string{lab.GrantJWTBearer}})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	company.RegisterClient(lab.ConfiguredClient{ID: "agent-at-company", Secret: "a secret"})
	company.AllowExchange(server.Issuer(), "agent-at-server")
	server.RegisterClient(lab.ConfiguredClient{ID: "agent-at-server", Secret: "another one"})
	server.TrustIssuer(company.Issuer(), company.JWKS())

	client := &handstamp.Client{
		Grant: handstamp.Enterprise{
			Issuer: company.Issuer(), ClientID: "agent-at-company", ClientSecret: "a secret",
		},
		Registration: &handstamp.Registration{ClientID: "agent-at-server", ClientSecret: "another one"},
		Prompt:       handstamp.Prompt{OpenURL: browse},
	}
	show(client.HTTPClient(server.MCPURL()), server.MCPURL())
	// Output: 200 OK
}

// show prints how a server responds to a request.
func show(client *http.Client, serverURL string) {
	resp, err := client.Post(serverURL, "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
}

// browse is a user who signs in.
func browse(ctx context.Context, rawURL string) error {
	go lab.Browse(context.WithoutCancel(ctx), rawURL)
	return nil
}

// identityToken is what a platform makes out for its workloads, and the server trusts.
func identityToken(server *lab.Server) secret.String {
	key, err := clientkey.Generate("ES256")
	if err != nil {
		log.Fatal(err)
	}
	server.TrustIssuer("https://platform.example", string(key.JWKS()))
	token, err := jose.Assertion(key, "ES256", jose.AssertionClaims{
		ClientID: "https://platform.example", Audience: server.Issuer(),
	}, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	return token
}
