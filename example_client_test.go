package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

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

// A token for a request that is not sent by the library's http.Client.
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

// All logins are removed from the store, and their tokens are revoked.
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

// An application that has kept its tokens itself so far imports them once: no user has to sign in
// again.
func ExampleClient_Import() {
	client := &handstamp.Client{}
	_, err := client.Import(context.Background(), "https://mcp.example.com/mcp", handstamp.ImportedLogin{
		Registration: handstamp.Registration{
			Issuer: "https://as.example.com", ClientID: "id", ClientSecret: "…", TokenEndpointAuthMethod: "client_secret_post",
		},
		TokenResponse: `{"access_token": "…", "refresh_token": "…", "expires_in": 3600}`,
	}, handstamp.ImportOptions{})
	if errors.Is(err, handstamp.ErrLoginRequired) {
		log.Print("the tokens have expired and cannot be refreshed: sign in")
	}
}

// Status reads the store and sends no request.
func ExampleClient_Status() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	client := &handstamp.Client{Prompt: handstamp.Prompt{Authorize: consent}}

	status, err := client.Status(ctx, server.MCPURL())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.State, status.Usable())

	if _, err := client.Login(ctx, server.MCPURL(), handstamp.LoginOptions{}); err != nil {
		log.Fatal(err)
	}
	if status, err = client.Status(ctx, server.MCPURL()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.State, status.Usable())
	// Output:
	// none false
	// valid true
}

// A request that the program makes by itself, such as a poll, refreshes the token and opens no
// browser.
func ExampleWithoutLogin() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := &handstamp.Client{}

	ctx := handstamp.WithoutLogin(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.MCPURL(), http.NoBody)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.HTTPClient(server.MCPURL()).Do(req)
	if err != nil {
		fmt.Println("a user has to sign in:", errors.Is(err, handstamp.ErrLoginRequired))
		return
	}
	resp.Body.Close()
	// Output: a user has to sign in: true
}

// Hooks receive the results of logins and refreshes, for metrics for instance.
func ExampleHooks() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	client := &handstamp.Client{
		Prompt: handstamp.Prompt{Authorize: consent},
		Hooks: handstamp.Hooks{
			LoggedIn:  func(e handstamp.LoginEvent) { fmt.Println("login:", e.Outcome) },
			Refreshed: func(e handstamp.RefreshEvent) { fmt.Println("refresh:", e.Outcome) },
		},
	}
	show(client.HTTPClient(server.MCPURL()), server.MCPURL())
	server.ExpireAccessTokens()
	show(client.HTTPClient(server.MCPURL()), server.MCPURL())
	// Output:
	// login: signed_in
	// 200 OK
	// refresh: refreshed
	// 200 OK
}

// An audit log gets a record for each login, refresh, logout and registration.
func ExampleClient_audit() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()

	client := &handstamp.Client{
		Prompt: handstamp.Prompt{Authorize: consent},
		Audit:  slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: briefly}),
	}
	if _, err := client.Login(ctx, server.MCPURL(), handstamp.LoginOptions{}); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Logout(ctx, server.MCPURL(), handstamp.LogoutOptions{}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// msg=registration outcome=registered
	// msg=login outcome=signed_in
	// msg=logout outcome=signed_out
}

// briefly drops the attributes that differ each time the example runs, such as the time.
func briefly(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.MessageKey || a.Key == handstamp.AuditOutcome {
		return a
	}
	return slog.Attr{}
}

// Inspect finds out what a login at a server would do, and does nothing of it.
func ExampleClient_Inspect() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	client := &handstamp.Client{}
	in, err := client.Inspect(context.Background(), server.MCPURL())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored login:", in.Status.State)
	if in.Plan != nil { // else no authorization server can be used
		fmt.Println("client:", in.Plan.ClientSource, in.Plan.Method)
	}
	// Output:
	// stored login: none
	// client: dynamic none
}

// Repair does what needs no user. Here it refreshes a token that the MCP server rejects.
func ExampleClient_Repair() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	client := &handstamp.Client{Prompt: handstamp.Prompt{Authorize: consent}}
	if _, err := client.Login(ctx, server.MCPURL(), handstamp.LoginOptions{}); err != nil {
		log.Fatal(err)
	}
	server.RevokeAccessTokens()

	in, err := client.Inspect(ctx, server.MCPURL())
	if err != nil {
		log.Fatal(err)
	}
	done, err := client.Repair(ctx, server.MCPURL(), in)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done)
	// Output: [the access token was refreshed]
}

// A worker calls this each minute, so that no request waits for a refresh.
func ExampleClient_RefreshAhead() {
	ctx := context.Background()
	client := &handstamp.Client{}         // with the Store that the logins are in
	retryAt := make(map[string]time.Time) // by authorization server; kept until the next time
	list, err := client.List(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, status := range list {
		if time.Now().Before(retryAt[status.Issuer]) {
			continue
		}
		if retryAt[status.Issuer], err = client.RefreshAhead(ctx, status.Server); err != nil {
			log.Print(err) // requests use the current token, or refresh it
		}
	}
}
