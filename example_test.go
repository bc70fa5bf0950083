package handstamp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"

	"golang.org/x/oauth2"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store/filestore"
)

// The zero Client signs in through the system's browser and keeps the login for
// its own life.
func Example() {
	client := &handstamp.Client{}
	httpClient := client.HTTPClient("https://mcp.example.com/mcp")
	_ = httpClient // give it to any MCP client library
}

// A program at a terminal shows the URL as well, opens it, and takes the URL that a
// browser on another machine ended at.
func ExampleTerminalPrompt() {
	client := &handstamp.Client{
		ClientName: "Example CLI",
		Prompt:     handstamp.TerminalPrompt(os.Stdin, os.Stderr),
	}
	httpClient := client.HTTPClient("https://mcp.example.com/mcp")
	_ = httpClient
}

// With a Store, later processes need no browser.
func ExampleClient_HTTPClient() {
	folder, err := filestore.Open(filestore.Options{Dir: "/home/me/.local/share/agent"})
	if err != nil {
		log.Fatal(err)
	}
	client := &handstamp.Client{Store: folder}
	resp, err := client.HTTPClient("https://mcp.example.com/mcp").Get("https://mcp.example.com/mcp")
	switch {
	case errors.Is(err, handstamp.ErrUnreachable):
		log.Print("try again later; the login is kept")
	case err != nil:
		log.Print(err)
	default:
		resp.Body.Close()
	}
}

// The handler is an auth.OAuthHandler of the official Go SDK. The module examples has it in a
// program with the SDK.
func ExampleClient_Handler() {
	client := &handstamp.Client{}
	handler := client.Handler("https://mcp.example.com/mcp")
	_ = handler // mcp.StreamableClientTransport{Endpoint: …, OAuthHandler: handler}
}

// A program that may be killed at any moment has its refreshes carried out by a second process, of
// the same program. The example of ServeRefreshHelper is what that one does.
func ExampleRefreshHelper() {
	folder := []byte("/home/me/.local/share/agent")
	client, err := clientIn(folder)
	if err != nil {
		log.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	client.RefreshHelper = &handstamp.RefreshHelper{
		Command: []string{program, "refresh-helper"},
		Config:  func() []byte { return folder },
	}
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}

// The function main of a program that is its own RefreshHelper begins with this.
func ExampleServeRefreshHelper() {
	if len(os.Args) == 2 && os.Args[1] == "refresh-helper" {
		if err := handstamp.ServeRefreshHelper(context.Background(), os.Stdin, os.Stdout, clientIn); err != nil {
			log.Fatal(err)
		}
		return
	}
}

// clientIn returns a Client with the logins in a folder.
func clientIn(folder []byte) (*handstamp.Client, error) {
	s, err := filestore.Open(filestore.Options{Dir: string(folder)})
	return &handstamp.Client{Store: s}, err
}

func ExampleClient_TokenSource() {
	client := &handstamp.Client{LoginPolicy: handstamp.LoginNever}
	source := client.TokenSource(context.Background(), "https://mcp.example.com/mcp")
	httpClient := &http.Client{Transport: &oauth2.Transport{Source: source}}
	_ = httpClient
}

// An application that keeps the registration itself sets all of it again, the token endpoint auth
// method included.
func ExampleRegistration_RevealJSON() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	var kept []byte // in the application's own database: it holds the secret
	first := &handstamp.Client{
		Prompt: handstamp.Prompt{Authorize: consent},
		OnRegister: func(ctx context.Context, r handstamp.Registration) error {
			var err error
			kept, err = r.RevealJSON()
			return err
		},
	}
	if _, err := first.Login(context.Background(), server.MCPURL(), handstamp.LoginOptions{}); err != nil {
		log.Fatal(err)
	}

	var registration handstamp.Registration
	if err := json.Unmarshal(kept, &registration); err != nil {
		log.Fatal(err)
	}
	fmt.Println("registered as", registration.TokenEndpointAuthMethod)

	second := &handstamp.Client{
		Prompt:       handstamp.Prompt{Authorize: consent},
		Registration: &registration,
	}
	result, err := second.Login(context.Background(), server.MCPURL(), handstamp.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("second session:", result.Status.Method, result.Status.MethodReason)
	// Output:
	// registered as client_secret_post
	// second session: client_secret_post as configured
}

// consent stands for an application that shows the authorization URL to its user
// and receives the callback at its redirect URI.
func consent(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	return lab.Consent(ctx, r.URL)
}
