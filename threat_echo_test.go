package handstamp_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// A server that repeats the Authorization header or the tokens it was sent, in its
// errors and its challenges, gets them into nothing that is shown, logged or kept
// beside the credential itself.
func TestRepeatedCredentialsAreNotShown(t *testing.T) {
	for _, code := range []string{"invalid_grant", "invalid_client", "server_error"} {
		t.Run(code, func(t *testing.T) {
			w := newWorld(t, lab.Habits{})
			w.lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "S3cr3t/of:the+app=", Method: lab.MethodBasic})
			c, _ := w.wired()
			c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: "S3cr3t/of:the+app=", TokenEndpointAuthMethod: lab.MethodBasic}
			w.mustLogin(c)
			w.expire()

			d, line := w.wired()
			d.Registration, d.LoginPolicy = c.Registration, handstamp.LoginNever
			line.onAnswer(func(req *http.Request, resp *http.Response) {
				credentials := req.Header.Get("Authorization")
				switch {
				case strings.HasPrefix(req.URL.Path, atMCP):
					resp.StatusCode = http.StatusUnauthorized
					resp.Header.Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="not `+credentials+`"`)
				case strings.HasPrefix(req.URL.Path, atToken), strings.HasPrefix(req.URL.Path, atRevoke):
					_, encoded, _ := strings.Cut(credentials, " ")
					pair, _ := base64.StdEncoding.DecodeString(encoded)
					body, _ := json.Marshal(map[string]string{
						"error": code, "error_description": credentials + " is " + string(pair),
						"error_uri": "https://as.example/" + url.PathEscape(encoded),
					})
					resp.StatusCode = http.StatusBadRequest
					resp.Header.Set("Content-Type", "application/json")
					resp.Header.Del("Content-Length")
					resp.ContentLength = int64(len(body))
					resp.Body = io.NopCloser(strings.NewReader(string(body)))
				}
			})
			l := &listener{t: t}
			l.listenTo(d)
			l.hearError(w.call(d))
			l.hearStatus(d, w.lab.MCPURL())
			status, err := d.Status(t.Context(), w.lab.MCPURL())
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(status)
			if err != nil {
				t.Fatal(err)
			}
			l.hear(string(text))
			rec := w.record()
			if rec.GrantError != nil {
				l.hear(rec.GrantError.Code + " " + rec.GrantError.Description)
			}
			if rec.Retry != nil {
				l.hear(rec.Retry.Reason)
			}
			result, err := d.Logout(t.Context(), w.lab.MCPURL(), handstamp.LogoutOptions{})
			l.hearError(err)
			if err == nil {
				l.hearError(result.RevokeError)
			}
			pair := url.QueryEscape("app") + ":" + url.QueryEscape("S3cr3t/of:the+app=")
			header := base64.StdEncoding.EncodeToString([]byte(pair))
			for _, text := range l.texts {
				for _, secret := range []string{"S3cr3t/of", "S3cr3t%2Fof", "the+app", "the%2Bapp", header[:10], header[10:20], header[len(header)-10:]} {
					if strings.Contains(text, secret) {
						t.Errorf("%q shows %q", text, secret)
					}
				}
			}
		})
	}
}
