// Command host is what the official MCP conformance suite drives for the bridge:
// the official Go SDK's MCP client as a host that starts "handstamp bridge" where
// it would start a local server, and speaks to it over standard input and output.
// It knows no scenario, and nothing of authorization but the flags that a host's
// configuration would hold.
//
//	host HANDSTAMP SERVER_URL
//
// HANDSTAMP is the command. A user who consents to everything is its browser.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// metadataURL is the client ID metadata document that the suite knows (its
	// scenario for them compares the URL and does not fetch it).
	metadataURL = "https://conformance-test.local/client-metadata.json"

	// secretEnv hands the bridge a client secret.
	secretEnv = "CONFORMANCE_CLIENT_SECRET"

	timeout = 25 * time.Second
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: host HANDSTAMP SERVER_URL")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "host:", err)
		os.Exit(1)
	}
}

// given is what the suite tells a client beside the URL.
type given struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	ToolCalls    []call `json:"toolCalls"`
}

// call is a call of a tool.
type call struct {
	Name      string         `json:"name"`
	Arguments map[string]any `json:"arguments"`
}

func run(ctx context.Context, handstamp, serverURL string) error {
	var g given
	if raw := os.Getenv("MCP_CONFORMANCE_CONTEXT"); raw != "" {
		if err := json.Unmarshal([]byte(raw), &g); err != nil {
			return errors.New("the suite's context is no JSON object")
		}
	}
	home, err := os.MkdirTemp("", "handstamp-conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)

	changed := make(chan struct{}, 1)
	client := mcp.NewClient(&mcp.Implementation{Name: "handstamp-conformance", Version: "1.0.0"}, &mcp.ClientOptions{
		ElicitationHandler: consent,
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) {
			select {
			case changed <- struct{}{}:
			default:
			}
		},
	})
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: bridge(ctx, handstamp, serverURL, home, &g)}, &mcp.ClientSessionOptions{
		ProtocolVersion: os.Getenv("MCP_CONFORMANCE_PROTOCOL_VERSION"),
	})
	if err != nil {
		return err
	}
	defer session.Close()
	return use(ctx, session, changed, g.ToolCalls)
}

// bridge returns the server process.
func bridge(ctx context.Context, handstamp, serverURL, home string, g *given) *exec.Cmd {
	args := []string{"bridge", serverURL}
	switch {
	case g.ClientID == "":
		args = append(args, "--client-metadata-url", metadataURL)
	case g.ClientSecret == "":
		args = append(args, "--client-id", g.ClientID)
	default:
		args = append(args, "--client-id", g.ClientID, "--client-secret-env", secretEnv)
	}
	cmd := exec.CommandContext(ctx, handstamp, args...)
	cmd.Env = append(os.Environ(), "HANDSTAMP_HOME="+home, `HANDSTAMP_BROWSER="`+handstamp+`" demo browser`, secretEnv+"="+g.ClientSecret)
	cmd.Stderr = os.Stderr
	return cmd
}
