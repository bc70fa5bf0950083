package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/handstamp/handstamp/lab"
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
		out.Failure = fmt.Sprintf("a refresh with the method %s returned %d instead of 401", out.Method, out.Status)
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
	request := map[string]any{
		"client_name": "a client that takes the first method", "redirect_uris": []string{forgetfulRedirect},
		"grant_types": []string{"authorization_code", "refresh_token"}, "token_endpoint_auth_method": methodPost,
	}
	if err := f.register(ctx, request); err != nil {
		return nil, err
	}
	if len(f.meta.Methods) == 0 {
		return nil, errors.New("the server lists no methods")
	}
	refresh, err := f.signIn(ctx, resource)
	if err != nil {
		return nil, err
	}
	// The second session: id and secret are still known, the method is not.
	first := f.meta.Methods[0]
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {f.reg.ID}, "resource": {resource},
	}
	if first == methodPost {
		form.Set("client_secret", f.reg.Secret)
	}
	status, body, err := f.post(ctx, f.meta.Token, "application/x-www-form-urlencoded", []byte(form.Encode()))
	if err != nil {
		return nil, err
	}
	return &firstListed{
		Registered: f.reg.Method, Listed: f.meta.Methods, Method: first,
		Request: "grant_type=refresh_token, client_id and no client_secret",
		Status:  status, Response: short(strings.TrimSpace(string(body))),
	}, nil
}

func (f *forgetful) register(ctx context.Context, request any) error {
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	status, body, err := f.post(ctx, f.meta.Register, "application/json", b)
	if err != nil {
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("the registration returned %d", status)
	}
	return json.Unmarshal(body, &f.reg)
}

// signIn authorizes and redeems the code, as the client was registered to, and
// returns the refresh token.
func (f *forgetful) signIn(ctx context.Context, resource string) (string, error) {
	verifier := rand.Text() + rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {f.reg.ID}, "redirect_uri": {forgetfulRedirect},
		"state": {rand.Text()}, "resource": {resource}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])},
	}
	code, err := f.authorize(ctx, f.meta.Authorize+"?"+query.Encode())
	if err != nil {
		return "", err
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {forgetfulRedirect},
		"code_verifier": {verifier}, "client_id": {f.reg.ID}, "client_secret": {f.reg.Secret}, "resource": {resource},
	}
	status, body, err := f.post(ctx, f.meta.Token, "application/x-www-form-urlencoded", []byte(form.Encode()))
	if err != nil {
		return "", err
	}
	var token struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(body, &token); err != nil || status != http.StatusOK || token.Refresh == "" {
		return "", fmt.Errorf("the code exchange returned %d", status)
	}
	return token.Refresh, nil
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
	status, body, err := f.do(req)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("the server's metadata returned %d", status)
	}
	return json.Unmarshal(body, v)
}

func (f *forgetful) post(ctx context.Context, rawURL, contentType string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, rawURL, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	return f.do(req)
}

func (f *forgetful) do(req *http.Request) (int, []byte, error) {
	resp, err := f.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}
