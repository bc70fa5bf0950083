package handstamp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A server may repeat what it knows of a login from another request: the client's secret in an
// error of the callback, the access token where a refresh token was sent. Nothing shows it.
func TestSecretsOfOtherRequestsAreNotShown(t *testing.T) {
	w := testenv.New(t, lab.Habits{Methods: []string{lab.MethodBasic, lab.MethodPost}})
	c, _ := w.Recorded()
	w.MustLogin(c)
	rec := w.Record()
	secrets := []string{rec.Grant.AccessToken.Reveal(), rec.Grant.RefreshToken.Reveal(), rec.Clients[0].Secret.Reveal()}
	for _, secret := range secrets {
		if secret == "" {
			t.Fatalf("not all secrets are there: %q", secrets)
		}
	}
	all := strings.Join(secrets, " ")
	l := &testenv.Output{T: t}
	d, line := w.Recorded()
	l.Attach(d)
	line.OnResponse(func(req *http.Request, resp *http.Response) {
		if strings.HasPrefix(req.URL.Path, testenv.AtToken) || strings.HasPrefix(req.URL.Path, testenv.AtRevoke) {
			resp.StatusCode = http.StatusBadRequest
			body, _ := json.Marshal(map[string]string{"error": "invalid_grant", "error_description": "not " + all})
			testenv.SetBody(resp, body)
		}
	})

	// The authorization endpoint, with state and without.
	for _, bound := range []bool{true, false} {
		d.Prompt = handstamp.Prompt{Authorize: func(_ context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
			u, _ := url.Parse(r.URL)
			params := url.Values{"error": {"access_denied"}, "error_description": {"not " + all}, "iss": {w.Lab.Issuer()}}
			if bound {
				params.Set("state", u.Query().Get("state"))
			} else {
				params = url.Values{"error": {secrets[0]}}
			}
			return params, nil
		}}
		err := w.Login(d)
		if err == nil {
			t.Error("the login worked")
		}
		l.AddError(err)
	}

	// The token endpoint and the revocation endpoint.
	_, err := d.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
	l.AddError(err)
	l.AddStatus(d, w.Lab.MCPURL())
	status, err := d.Status(t.Context(), w.Lab.MCPURL())
	if err != nil || status.GrantError == nil {
		t.Fatalf("status %+v, %v", status, err)
	}
	text, _ := json.Marshal(status)
	l.Add(string(text))
	result, err := d.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
	l.AddError(err)
	if err == nil {
		l.AddError(result.RevokeError)
	}
	for _, text := range l.Texts {
		for _, secret := range secrets {
			if strings.Contains(text, secret[len(secret)-12:]) {
				t.Errorf("%q shows %q", text, secret)
			}
		}
	}
}

// The error about a redirect names where it leads, but for a secret that the server has put
// there: the token, or what the caller has sent.
func TestRedirectToASecretIsNotShown(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	c, _ := w.Recorded()
	w.MustLogin(c)
	token := w.Record().Grant.AccessToken.Reveal()
	for _, secret := range []string{token, "a-key-of-the-caller", "of-the-caller"} {
		d, line := w.Recorded()
		line.OnResponse(func(req *http.Request, resp *http.Response) {
			if strings.HasPrefix(req.URL.Path, testenv.AtMCP) {
				resp.StatusCode = http.StatusTemporaryRedirect
				resp.Header.Set("Location", "https://"+strings.ToLower(secret)+".example/mcp")
			}
		})
		req := secretRequest(t, w.Lab.MCPURL())
		if secret == token {
			req.Header.Del("Authorization")
		}
		_, err := d.HTTPClient(w.Lab.MCPURL()).Do(req)
		testenv.WantKind(t, err, handstamp.ErrProtocol)
		if err == nil || strings.Contains(err.Error(), strings.ToLower(secret)) || strings.Contains(err.Error(), ".example") {
			t.Errorf("error %v", err)
		}
	}
}

// Package net/http quotes in its error what it cannot parse of a response, which may repeat the
// request.
func TestMalformedResponseWithTheTokenIsNotShown(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	w.MustLogin(w.Session())
	token := w.Record().Grant.AccessToken.Reveal()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			http.ReadRequest(bufio.NewReader(conn))
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-Debug: \x1bBearer %s\r\n\r\n", token)
			conn.Close()
		}
	}()
	echoes := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}}
	c := w.Session()
	c.BaseTransport = echoes
	l := &testenv.Output{T: t}
	l.Attach(c)
	err = w.Call(c)
	testenv.WantKind(t, err, handstamp.ErrServerUnreachable)
	l.AddError(err)
	_, err = c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
	testenv.WantKind(t, err, handstamp.ErrServerUnreachable)
	l.AddError(err)
	in, err := c.Inspect(t.Context(), w.Lab.MCPURL())
	if err != nil {
		t.Fatal(err)
	}
	l.AddError(in.ResponseError)
	l.WantPlain()
	for _, text := range l.Texts {
		if strings.Contains(text, token[len(token)-12:]) {
			t.Errorf("%q shows the token", text)
		}
	}
}
