package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/handstamp/handstamp/lab"
	"golang.org/x/oauth2"
)

// firstListed is what a client gets that forgets how it was registered, and in
// its second session takes the first method of the server's list.
type firstListed struct {
	Registered string   `json:"registered_method"`
	Listed     []string `json:"listed_methods"`
	Method     string   `json:"method_taken"`
	Request    string   `json:"request"`
	Status     int      `json:"status"`
	Response   string   `json:"response"`
	Failure    string   `json:"failure,omitempty"` // where the demo expected something else
}

// takeFirst plays that client against a server of the same habits: it registers and signs
// in as it should, then refreshes its token with the first method of the list.
func takeFirst(ctx context.Context) (*firstListed, error) {
	server, err := lab.Start(lab.NoneFirst())
	if err != nil {
		return nil, fmt.Errorf("the demo cannot start its servers: %w", err)
	}
	defer server.Close()
	client, out, err := registerForgetful(ctx, server)
	if err == nil {
		err = out.signInTwice(ctx, client, server.MCPURL())
	}
	if err != nil {
		return nil, fmt.Errorf("the demo's other client failed before it should: %w", err)
	}
	if out.Status != http.StatusUnauthorized || out.Method != methodNone {
		out.Failure = fmt.Sprintf("a refresh with the method %s returned %d instead of 401",
			out.Method, out.Status)
	}
	return out, nil
}

// registerForgetful registers the client for a method other than the first. The client is made
// without the library, because the library cannot be brought to do this.
func registerForgetful(
	ctx context.Context, server *lab.Server,
) (*oauth2.Config, *firstListed, error) {
	var meta struct {
		AuthorizationEndpoint string   `json:"authorization_endpoint"`
		TokenEndpoint         string   `json:"token_endpoint"`
		RegistrationEndpoint  string   `json:"registration_endpoint"`
		Methods               []string `json:"token_endpoint_auth_methods_supported"`
	}
	err := exchangeJSON(ctx, http.MethodGet,
		server.Issuer()+"/.well-known/oauth-authorization-server", nil, &meta)
	if err != nil {
		return nil, nil, err
	}
	if len(meta.Methods) == 0 {
		return nil, nil, errors.New("the server lists no methods")
	}
	// Its browser ends there; nothing listens.
	const redirect = "http://127.0.0.1:1/callback"
	var registered struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
		Method string `json:"token_endpoint_auth_method"`
	}
	err = exchangeJSON(ctx, http.MethodPost, meta.RegistrationEndpoint, map[string]any{
		"client_name":                "a client that takes the first method",
		"redirect_uris":              []string{redirect},
		"grant_types":                []string{"authorization_code", "refresh_token"},
		"token_endpoint_auth_method": methodPost,
	}, &registered)
	if err != nil {
		return nil, nil, err
	}
	client := &oauth2.Config{
		ClientID: registered.ID, ClientSecret: registered.Secret, RedirectURL: redirect,
		Endpoint: oauth2.Endpoint{AuthURL: meta.AuthorizationEndpoint, TokenURL: meta.TokenEndpoint,
			AuthStyle: oauth2.AuthStyleInParams},
	}
	return client, &firstListed{
		Registered: registered.Method, Listed: meta.Methods, Method: meta.Methods[0],
		Request: "grant_type=refresh_token, client_id and no client_secret",
	}, nil
}

// exchangeJSON sends a document, if there is one, and reads the one in the response.
func exchangeJSON(ctx context.Context, method, url string, send, receive any) error {
	var body io.Reader
	if send != nil {
		raw, err := json.Marshal(send)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s returned %s", req.URL.Path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(receive)
}

// signInTwice signs in as the client was registered to, and then refreshes the token as in
// a second session: id and secret are still known, the method is not.
func (f *firstListed) signInTwice(
	ctx context.Context, client *oauth2.Config, resource string,
) error {
	verifier, forResource := oauth2.GenerateVerifier(), oauth2.SetAuthURLParam("resource", resource)
	response, err := lab.Consent(ctx,
		client.AuthCodeURL(rand.Text(), oauth2.S256ChallengeOption(verifier), forResource))
	if err != nil {
		return err
	}
	token, err := client.Exchange(ctx, response.Get("code"), oauth2.VerifierOption(verifier),
		forResource)
	if err != nil {
		return err
	}
	if f.Method == methodNone {
		client.ClientSecret = ""
	}
	f.Status = http.StatusOK
	_, err = client.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	if rejected, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		f.Status, err = rejected.Response.StatusCode, nil
		f.Response = short(strings.TrimSpace(string(rejected.Body)))
	}
	return err
}
