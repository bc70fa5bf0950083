package bridge_test

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/bridge"
	"github.com/handstamp/handstamp/store/filestore"
)

// A program of your own is a bridge with the logins of the library: the MCP host has the sign-in
// placeholder while the user is awaited, and an error for each login that failed.
func ExampleRun() {
	const server = "https://mcp.example.com/mcp"
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	folder, err := filestore.Open(filestore.Options{Dir: os.ExpandEnv("$HOME/.example/logins")})
	if err != nil {
		log.Fatal(err)
	}
	user := new(bridge.User)
	client := &handstamp.Client{
		Store: folder,
		Prompt: handstamp.Prompt{
			Show: func(_ context.Context, r handstamp.AuthorizationRequest) {
				user.Await("Sign in in the browser that has opened, or open this URL: " + r.URL)
			},
			Waiting: func(context.Context, handstamp.AuthorizationRequest) {
				user.Await("Another process is waiting for the user to sign in.")
			},
			Ended: func(string) { user.Done() },
		},
	}
	err = bridge.Run(ctx, bridge.Options{
		URL:    server,
		HTTP:   client.HTTPClient(server),
		Stdin:  os.Stdin,
		Stdout: os.Stdout,
		Name:   "example", Version: "1.0.0",
		User: user,
		SignedIn: func(ctx context.Context) bool {
			status, err := client.Status(ctx, server)
			return err == nil && status.Usable()
		},
		Background: handstamp.WithoutLogin,
		Explain: func(err error) *bridge.Trouble {
			var e *handstamp.Error
			if !errors.As(err, &e) {
				return nil // it is about the MCP server itself
			}
			t := &bridge.Trouble{Code: bridge.CodeSignIn, Reason: "auth_required", Message: e.Error()}
			if errors.Is(err, handstamp.ErrUnreachable) {
				t.Code, t.Reason, t.Retry = bridge.CodeUnreachable, "unreachable", true
			}
			return t
		},
	})
	if err != nil {
		log.Fatal(err)
	}
}
