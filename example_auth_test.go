package handstamp_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// A client that was registered by hand, with a secret.
func ExampleClient_secret() {
	client := &handstamp.Client{
		Registration: &handstamp.Registration{
			Issuer:       "https://auth.example.com", // the secret goes to no other
			ClientID:     "0oa4",
			ClientSecret: secret.String(os.Getenv("EXAMPLE_SECRET")),
			RedirectURIs: []string{"http://127.0.0.1:32907/callback"}, // as registered
		},
	}
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}

// A client that was registered with a key signs an assertion for each request to the authorization
// server, in place of a secret (private_key_jwt). The key may be in a KMS: see clientkey.New.
func ExampleClient_key() {
	server, pem := keyServer() // stands for a real one, and for the file with the key
	defer server.Close()

	key, err := clientkey.Parse(pem, clientkey.Options{}) // PEM or JWK
	if err != nil {
		log.Fatal(err)
	}
	client := &handstamp.Client{
		Key:          key,
		Registration: &handstamp.Registration{ClientID: "agent"},
	}
	client.Prompt.Authorize = consent // stands for the user with a browser
	result, err := client.Login(context.Background(), server.MCPURL(), handstamp.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status.Method)
	// Output: private_key_jwt
}

func keyServer() (server *lab.Server, pem []byte) {
	server, err := lab.Start(lab.Habits{Methods: []string{lab.MethodPrivateKeyJWT}, NoRegistration: true})
	if err != nil {
		log.Fatal(err)
	}
	key, err := clientkey.Generate("ES256")
	if err != nil {
		log.Fatal(err)
	}
	if pem, err = key.RevealPrivatePEM(); err != nil {
		log.Fatal(err)
	}
	server.RegisterClient(lab.ConfiguredClient{ID: "agent", JWKS: string(key.JWKS())})
	return server, pem
}

// A client that the authorization server knows by its TLS certificate (RFC 8705).
func ExampleClient_certificate() {
	certificate, err := tls.LoadX509KeyPair("agent.pem", "agent-key.pem")
	if err != nil {
		log.Print(err)
		return
	}
	client := &handstamp.Client{
		Certificate: &certificate,
		Registration: &handstamp.Registration{
			ClientID:                "agent",
			TokenEndpointAuthMethod: "tls_client_auth", // or self_signed_tls_client_auth
		},
	}
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}

// The client ID is the URL of a document, so that no server registers the client. With a key, the
// document has the method private_key_jwt and the public key.
func ExampleClient_clientMetadataURL() {
	client := &handstamp.Client{ClientMetadataURL: "https://agent.example.com/client.json"}
	if pem, err := os.ReadFile("agent.key"); err == nil {
		if client.Key, err = clientkey.Parse(pem, clientkey.Options{}); err != nil {
			log.Print(err)
		}
	}
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}

// A token that is bound to a key needs a proof for the method and URL of each request. The library's
// http.Client makes it; a program that sends its requests in another way calls SetHeaders, which sets
// both headers.
func ExampleToken_SetHeaders() {
	server, err := lab.Start(lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired}})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx, serverURL := context.Background(), server.MCPURL()
	client := &handstamp.Client{Prompt: handstamp.Prompt{Authorize: consent}}

	token, err := client.Token(ctx, serverURL, handstamp.TokenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, serverURL, http.NoBody)
	if err != nil {
		log.Fatal(err)
	}
	if err := token.SetHeaders(req); err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Type, req.Header.Get("DPoP") != "")
	// Output: DPoP true
}

// The user signs in on another device: a phone, where this machine has no browser.
func ExampleDeviceCode() {
	server, err := lab.Start(lab.Habits{
		Grants: []string{lab.GrantDeviceCode}, Device: lab.Device{Interval: 1},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	client := &handstamp.Client{
		Grant: handstamp.DeviceCode{},
		Prompt: handstamp.Prompt{ShowCode: func(_ context.Context, d handstamp.DeviceAuthorization) {
			log.Printf("Open %s and enter %s", d.VerificationURI, d.UserCode)
		}},
	}
	showCode := client.Prompt.ShowCode
	client.Prompt.ShowCode = func(ctx context.Context, d handstamp.DeviceAuthorization) {
		showCode(ctx, d)
		go server.ApproveDevice(d.UserCode) // stands for the user
	}
	result, err := client.Login(context.Background(), server.MCPURL(), handstamp.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status.State, result.Status.Refreshable)
	// Output: valid true
}

// Some authorization servers register a client only with an initial access token.
func ExampleClient_initialAccessToken() {
	server, err := lab.Start(lab.Habits{Registrations: lab.Registrations{InitialToken: "initial"}})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	client := &handstamp.Client{
		InitialAccessToken: "initial", // of the authorization server's operator
	}
	client.Prompt.Authorize = consent // stands for the user with a browser
	result, err := client.Login(context.Background(), server.MCPURL(), handstamp.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status.ClientSource)
	// Output: dynamic
}

// What a login should be like: with which account, how recent, how strong.
func ExampleClient_extraAuthParams() {
	server, err := lab.Start(lab.Habits{PAR: lab.PARRequired, OpenID: true})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	client := &handstamp.Client{
		Scopes: []string{"openid", "mcp"},
		ExtraAuthParams: url.Values{
			"login_hint": {"ana@example.com"},
			"prompt":     {"login"},
			"max_age":    {"300"},
		},
	}
	client.Prompt.Authorize = consent // stands for the user with a browser
	result, err := client.Login(context.Background(), server.MCPURL(), handstamp.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status.Account)
	// Output: ana@example.com
}

// Two accounts at one server: a profile each. The status of each login names its account.
func ExampleClient_List() {
	server, err := lab.Start(lab.Habits{OpenID: true})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	s := new(store.Memory) // a filestore.Store, to keep them longer

	for profile, account := range map[string]string{"work": "ana@example.com", "home": "ana@example.org"} {
		client := &handstamp.Client{
			Store:           s,
			Profile:         profile,
			Scopes:          []string{"openid", "mcp"},
			ExtraAuthParams: url.Values{"login_hint": {account}},
		}
		client.Prompt.Authorize = consent // stands for the user with a browser
		if _, err := client.Login(context.Background(), server.MCPURL(), handstamp.LoginOptions{}); err != nil {
			log.Fatal(err)
		}
	}
	list, err := (&handstamp.Client{Store: s}).List(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, status := range list {
		fmt.Println(status.Profile, status.Account)
	}
	// Unordered output:
	// work ana@example.com
	// home ana@example.org
}
