// Command mcpgo makes one tool call on mark3labs/mcp-go, as its example does,
// and keeps in a file what that has to be given again: the registered client
// with its method, the redirect URI, and every token.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mcpgo URL")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// kept is what is in the file. It is the token store, too.
type kept struct {
	ID, Secret, Method, Redirect string
	Token                        *transport.Token
}

func path() string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return filepath.Join(home, "mcpgo.json")
}

func (k *kept) load() error {
	raw, err := os.ReadFile(path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, k)
}

func (k *kept) save() error {
	raw, err := json.Marshal(k)
	if err != nil {
		return err
	}
	next := fmt.Sprintf("%s.%d", path(), os.Getpid())
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path())
}

// GetToken returns the token as it is in the file now.
func (k *kept) GetToken(ctx context.Context) (*transport.Token, error) {
	if err := k.load(); err != nil {
		return nil, err
	}
	if k.Token == nil {
		return nil, transport.ErrNoToken
	}
	return k.Token, ctx.Err()
}

// SaveToken keeps a new token.
func (k *kept) SaveToken(_ context.Context, token *transport.Token) error {
	k.Token = token
	return k.save()
}

func run(ctx context.Context, server string) error {
	k := new(kept)
	if err := k.load(); err != nil {
		return err
	}
	listener, err := listen(k.Redirect)
	if err != nil {
		return err
	}
	k.Redirect = "http://" + listener.Addr().String() + "/callback"
	responses := make(chan url.Values, 1)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case responses <- r.URL.Query():
		default:
		}
		fmt.Fprintln(w, "done")
	}))
	c, err := client.NewOAuthStreamableHttpClient(server, client.OAuthConfig{
		ClientID: k.ID, ClientSecret: k.Secret, TokenEndpointAuthMethod: k.Method, RedirectURI: k.Redirect,
		TokenStore: k, PKCEEnabled: true,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	for _, step := range []func() error{
		func() error { return c.Start(ctx) },
		func() error {
			var request mcp.InitializeRequest
			request.Params.ProtocolVersion = mcp.LATEST_PROTOCOL_VERSION
			request.Params.ClientInfo = mcp.Implementation{Name: "mcpgo", Version: "1"}
			_, err := c.Initialize(ctx, request)
			return err
		},
		func() error {
			var request mcp.CallToolRequest
			request.Params.Name, request.Params.Arguments = "echo", map[string]any{"text": "hello"}
			result, err := c.CallTool(ctx, request)
			if err != nil {
				return err
			}
			if text, ok := mcp.AsTextContent(result.Content[0]); !ok || text.Text != "hello" {
				return errors.New("the tool returns another text")
			}
			return nil
		},
	} {
		err := step()
		if client.IsOAuthAuthorizationRequiredError(err) {
			if err := k.login(ctx, client.GetOAuthHandler(err), responses); err != nil {
				return err
			}
			err = step()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// login prompts the user.
func (k *kept) login(ctx context.Context, handler *transport.OAuthHandler, responses <-chan url.Values) error {
	verifier, err := client.GenerateCodeVerifier()
	if err != nil {
		return err
	}
	state, err := client.GenerateState()
	if err != nil {
		return err
	}
	if handler.GetClientID() == "" {
		if err := handler.RegisterClient(ctx, "A program on mcp-go"); err != nil {
			return err
		}
	}
	address, err := handler.GetAuthorizationURL(ctx, state, client.GenerateCodeChallenge(verifier))
	if err != nil {
		return err
	}
	if err := exec.CommandContext(ctx, "xdg-open", address).Run(); err != nil {
		return err
	}
	response := <-responses
	if response.Get("code") == "" {
		return errors.New("the login failed: " + response.Get("error"))
	}
	if err := handler.ProcessAuthorizationResponse(ctx, response.Get("code"), response.Get("state"), verifier); err != nil {
		return err
	}
	k.ID, k.Secret, k.Method = handler.GetClientID(), handler.GetClientSecret(), handler.GetTokenEndpointAuthMethod()
	return k.save()
}

// listen listens where the client was registered for, if it can.
func listen(redirect string) (net.Listener, error) {
	if u, err := url.Parse(redirect); err == nil && u.Host != "" {
		if listener, err := net.Listen("tcp", u.Host); err == nil {
			return listener, nil
		}
	}
	return net.Listen("tcp", "127.0.0.1:0")
}
