package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// An unattended program opens no browser. It separates "a user has to sign in"
// from "try again in a minute".
func ExampleError() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	client := &handstamp.Client{LoginPolicy: handstamp.LoginNever}
	explain := func() {
		resp, err := client.HTTPClient(server.MCPURL()).Get(server.MCPURL())
		var e *handstamp.Error
		switch {
		case errors.Is(err, handstamp.ErrLoginRequired):
			fmt.Println("sign in once, then start again")
		case errors.Is(err, handstamp.ErrUnreachable):
			fmt.Println("wait and try again; the login is kept")
			if errors.As(err, &e) && !e.RetryAt.IsZero() {
				fmt.Println("not before", e.RetryAt)
			}
		case err != nil:
			log.Print(err)
		default:
			resp.Body.Close()
		}
	}
	explain()
	server.Close()
	explain()
	// Output:
	// sign in once, then start again
	// wait and try again; the login is kept
}

// A token for a request that something else than the library's http.Client sends.
func ExampleClient_Token() {
	const serverURL = "https://mcp.example.com/mcp"
	client := &handstamp.Client{LoginPolicy: handstamp.LoginNever}
	authorize := func(ctx context.Context, req *http.Request) error {
		token, err := client.Token(ctx, serverURL, handstamp.TokenOptions{})
		if err != nil {
			return err // handstamp.ErrLoginRequired: no user has signed in
		}
		return token.SetHeaders(req) // or token.Value.Reveal(), unless token.Type is "DPoP"
	}
	_ = authorize
}

// What is stored is shown, and forgotten at the server too.
func ExampleClient_Logout() {
	ctx := context.Background()
	client := &handstamp.Client{} // with the Store that the logins are in
	list, err := client.List(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, status := range list {
		fmt.Println(status.Server, status.State)
		result, err := client.Logout(ctx, status.Server, handstamp.LogoutOptions{})
		if err != nil {
			log.Fatal(err)
		}
		if result.RevokeError != nil {
			log.Print("the token may go on working at the server: ", result.RevokeError)
		}
	}
}

// An application that has kept its tokens itself so far hands them over once: no user has to sign
// in again.
func ExampleClient_Import() {
	client := &handstamp.Client{}
	_, err := client.Import(context.Background(), "https://mcp.example.com/mcp", handstamp.ImportedLogin{
		Registration: handstamp.Registration{
			Issuer: "https://as.example.com", ClientID: "id", ClientSecret: "…", TokenEndpointAuthMethod: "client_secret_post",
		},
		TokenResponse: `{"access_token": "…", "refresh_token": "…", "expires_in": 3600}`,
	}, handstamp.ImportOptions{})
	if errors.Is(err, handstamp.ErrLoginRequired) {
		log.Print("the tokens are past help: sign in")
	}
}
