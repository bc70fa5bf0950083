// Command gosdk makes one tool call on the official Go SDK, as a program can: all
// that the SDK gives it to keep, the oauth2 configuration and the token, is kept
// in a file and given back as it was.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gosdk URL")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// kept is what is in the file.
type kept struct {
	Config *oauth2.Config
	Token  *oauth2.Token
}

func path() string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return filepath.Join(home, "gosdk.json")
}

func load() (kept, error) {
	var k kept
	raw, err := os.ReadFile(path())
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, err
	}
	return k, json.Unmarshal(raw, &k)
}

// saving is a token source that keeps every new token.
type saving struct {
	config *oauth2.Config
	last   string
	source oauth2.TokenSource
}

func (s *saving) Token() (*oauth2.Token, error) {
	token, err := s.source.Token()
	if err != nil || token.AccessToken == s.last {
		return token, err
	}
	s.last = token.AccessToken
	return token, save(s.config, token)
}

func save(config *oauth2.Config, token *oauth2.Token) error {
	raw, err := json.Marshal(kept{config, token})
	if err != nil {
		return err
	}
	next := fmt.Sprintf("%s.%d", path(), os.Getpid())
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path())
}

func newSource(ctx context.Context, config *oauth2.Config, token *oauth2.Token) (oauth2.TokenSource, error) {
	return &saving{config, token.AccessToken, config.TokenSource(ctx, token)}, nil
}

func run(ctx context.Context, url string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	redirect := "http://" + listener.Addr().String() + "/callback"
	responses := make(chan *auth.AuthorizationResult, 1)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		select {
		case responses <- &auth.AuthorizationResult{Code: query.Get("code"), State: query.Get("state"), Iss: query.Get("iss")}:
		default:
		}
		fmt.Fprintln(w, "done")
	}))
	config := &auth.AuthorizationCodeHandlerConfig{
		RequestRefreshToken: true,
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "A program on the Go SDK", RedirectURIs: []string{redirect}, GrantTypes: []string{"authorization_code", "refresh_token"},
		}},
		AuthorizationCodeFetcher: func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			if err := exec.CommandContext(ctx, "xdg-open", args.URL).Run(); err != nil {
				return nil, err
			}
			select {
			case response := <-responses:
				return response, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		NewTokenSource: func(ctx context.Context, config *oauth2.Config, token *oauth2.Token) (oauth2.TokenSource, error) {
			if err := save(config, token); err != nil {
				return nil, err
			}
			return newSource(ctx, config, token)
		},
	}
	k, err := load()
	if err != nil {
		return err
	}
	if k.Token != nil {
		if config.InitialTokenSource, err = newSource(ctx, k.Config, k.Token); err != nil {
			return err
		}
	}
	handler, err := auth.NewAuthorizationCodeHandler(config)
	if err != nil {
		return err
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "gosdk", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url, OAuthHandler: handler, DisableStandaloneSSE: true}, nil)
	if err != nil {
		return err
	}
	defer session.Close()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "hello"}})
	if err != nil {
		return err
	}
	if text, ok := result.Content[0].(*mcp.TextContent); !ok || text.Text != "hello" {
		return errors.New("the tool returns another text")
	}
	return nil
}
