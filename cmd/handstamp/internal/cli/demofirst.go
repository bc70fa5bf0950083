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

// takeFirst plays that client, with plain HTTP requests against a server of the
// same habits: it registers and signs in as it should, then refreshes its token
// with the first method of the list.
func takeFirst(ctx context.Context) (*firstListed, error) {
	server, err := lab.Start(lab.NoneFirst())
	if err != nil {
		return nil, fmt.Errorf("the demo cannot start its servers: %w", err)
	}
	defer server.Close()
	client := &forgetful{http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	out, err := client.run(ctx, server.Issuer(), server.MCPURL())
	if err != nil {
		return nil, fmt.Errorf("the demo's other client failed before it should: %w", err)
	}
	if out.Status != http.StatusUnauthorized || out.Method != methodNone {
		out.Failure = fmt.Sprintf("a refresh with the method %s returned %d instead of 401",
			out.Method, out.Status)
	}
	return out, nil
}

// forgetful is the client. It is written out here, without the library, because
// the library cannot be brought to do this.
type forgetful struct {
	http *http.Client
	meta struct {
		Authorize string   `json:"authorization_endpoint"`
		Token     string   `json:"token_endpoint"`
		Register  string   `json:"registration_endpoint"`
		Methods   []string `json:"token_endpoint_auth_methods_supported"`
	}
	reg struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
		Method string `json:"token_endpoint_auth_method"`
	}
}

// forgetfulRedirect is where its browser ends; nothing listens there.
const forgetfulRedirect = "http://127.0.0.1:1/callback"

func (f *forgetful) run(ctx context.Context, issuer, resource string) (*firstListed, error) {
	if err := f.get(ctx, issuer+"/.well-known/oauth-authorization-server", &f.meta); err != nil {
		return nil, err
	}
	if len(f.meta.Methods) == 0 {
		return nil, errors.New("the server lists no methods")
	}
	err := f.register(ctx, map[string]any{
		"client_name":                "a client that takes the first method",
		"redirect_uris":              []string{forgetfulRedirect},
		"grant_types":                []string{"authorization_code", "refresh_token"},
		"token_endpoint_auth_method": methodPost,
	})
	if err != nil {
		return nil, err
	}
	config := oauth2.Config{
		ClientID: f.reg.ID, ClientSecret: f.reg.Secret, RedirectURL: forgetfulRedirect,
		Endpoint: oauth2.Endpoint{
			AuthURL: f.meta.Authorize, TokenURL: f.meta.Token, AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, f.http)
	token, err := f.signIn(ctx, &config, resource)
	if err != nil {
		return nil, err
	}
	// The second session: id and secret are still known, the method is not.
	first := f.meta.Methods[0]
	if first == methodNone {
		config.ClientSecret = ""
	}
	out := &firstListed{
		Registered: f.reg.Method, Listed: f.meta.Methods, Method: first,
		Request: "grant_type=refresh_token, client_id and no client_secret", Status: http.StatusOK,
	}
	_, err = config.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	if rejected, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		out.Status, err = rejected.Response.StatusCode, nil
		out.Response = short(strings.TrimSpace(string(rejected.Body)))
	}
	return out, err
}

func (f *forgetful) register(ctx context.Context, request any) error {
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.meta.Register, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	return f.do(req, &f.reg)
}

// signIn authorizes and exchanges the code, as the client was registered to.
func (f *forgetful) signIn(
	ctx context.Context, config *oauth2.Config, resource string,
) (*oauth2.Token, error) {
	verifier, forResource := oauth2.GenerateVerifier(), oauth2.SetAuthURLParam("resource", resource)
	code, err := f.authorize(ctx,
		config.AuthCodeURL(rand.Text(), oauth2.S256ChallengeOption(verifier), forResource))
	if err != nil {
		return nil, err
	}
	return config.Exchange(ctx, code, oauth2.VerifierOption(verifier), forResource)
}

// authorize has the server consent and returns the code that it redirects with.
func (f *forgetful) authorize(ctx context.Context, rawURL string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return "", err
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	location, err := resp.Location()
	if err != nil || !location.Query().Has("code") {
		return "", fmt.Errorf("the authorization returned %d without a code", resp.StatusCode)
	}
	return location.Query().Get("code"), nil
}

func (f *forgetful) get(ctx context.Context, rawURL string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return err
	}
	return f.do(req, v)
}

// do sends a request and decodes the JSON of its response.
func (f *forgetful) do(req *http.Request, v any) error {
	resp, err := f.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s returned %d", req.URL.Path, resp.StatusCode)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(v)
}
