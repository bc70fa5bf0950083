// Command host is what the official MCP conformance suite drives for the bridge:
// the official Go SDK's MCP client as a host that starts "handstamp bridge" where
// it would start a local server, and speaks to it over standard input and output.
// It knows no scenario but in what only a model or a user could decide, and nothing
// of authorization but the flags that a host's configuration would hold.
//
//	host HANDSTAMP SERVER_URL
//
// HANDSTAMP is the command. A user who consents to everything is its browser.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/handstamp/handstamp/conformance/given"
)

const (
	// secretEnv hands the bridge a client secret.
	secretEnv = "CONFORMANCE_CLIENT_SECRET"

	// tokenEnv hands it the workload's token, or the id token of the company's user.
	tokenEnv = "CONFORMANCE_TOKEN"

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

func run(ctx context.Context, handstamp, serverURL string) error {
	g, err := given.Read()
	if err != nil {
		return err
	}
	home, err := os.MkdirTemp("", "handstamp-conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)

	changed := make(chan struct{}, 1)
	can := &mcp.ClientCapabilities{}
	can.AddExtension(skillsExtension, nil)
	client := mcp.NewClient(&mcp.Implementation{Name: "handstamp-conformance", Version: "1.0.0"}, &mcp.ClientOptions{
		Capabilities:       can,
		ElicitationHandler: consent,
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) {
			select {
			case changed <- struct{}{}:
			default:
			}
		},
	})
	if err := mcp.AddSendingCustomMethod[*skillsParams, *skillsResult](client, listSkills); err != nil {
		return err
	}
	command, err := bridge(ctx, handstamp, serverURL, home, g)
	if err != nil {
		return err
	}
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: command}, &mcp.ClientSessionOptions{
		ProtocolVersion: g.Revision,
	})
	if err != nil {
		return err
	}
	defer session.Close()
	if err := use(ctx, session, changed, g.ToolCalls); err != nil {
		return err
	}
	return useSkills(ctx, session, g.Scenario != noPrefetch)
}

// bridge returns the server process.
func bridge(ctx context.Context, handstamp, serverURL, home string, g *given.Given) (*exec.Cmd, error) {
	args := []string{"bridge", serverURL}
	switch g.Grant() {
	case given.ClientCredentials:
		args = append(args, "--client-credentials")
	case given.Workload:
		args = append(args, "--workload", "env:"+tokenEnv)
	case given.Enterprise:
		args = append(args, "--enterprise", g.ProviderIssuer, "--enterprise-client-id", g.ProviderClientID,
			"--enterprise-id-token", "env:"+tokenEnv)
	}
	if g.PrivateKey != "" {
		file := filepath.Join(home, "client.pem")
		if err := os.WriteFile(file, []byte(g.PrivateKey), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--jwt-key", file, "--jwt-key-alg", g.Algorithm)
	}
	switch {
	case g.ClientID == "":
		args = append(args, "--client-metadata-url", given.MetadataURL)
	case g.ClientSecret == "":
		args = append(args, "--client-id", g.ClientID)
	default:
		args = append(args, "--client-id", g.ClientID, "--client-secret-env", secretEnv)
	}
	cmd := exec.CommandContext(ctx, handstamp, args...)
	cmd.Env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS=disabled:", "HANDSTAMP_HOME="+home, `HANDSTAMP_BROWSER="`+handstamp+`" demo browser`, secretEnv+"="+g.ClientSecret, tokenEnv+"="+cmp.Or(g.Assertion, g.ProviderIDToken))
	cmd.Stderr = os.Stderr
	return cmd, nil
}
