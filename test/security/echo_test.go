package security_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A server that repeats the Authorization header or the tokens it was sent, in its
// errors and its challenges, gets them into nothing that is shown, logged or kept
// beside the credential itself.
func TestRepeatedCredentialsAreNotShown(t *testing.T) {
	for _, code := range []string{"invalid_grant", "invalid_client", "server_error"} {
		t.Run(code, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "S3cr3t/of:the+app=", Method: lab.MethodBasic})
			c, _ := w.Recorded()
			c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: "S3cr3t/of:the+app=", TokenEndpointAuthMethod: lab.MethodBasic}
			w.MustLogin(c)
			w.Expire()

			d, line := w.Recorded()
			d.Registration, d.LoginPolicy = c.Registration, handstamp.LoginNever
			line.OnResponse(func(req *http.Request, resp *http.Response) {
				credentials := req.Header.Get("Authorization")
				switch {
				case strings.HasPrefix(req.URL.Path, testenv.AtMCP):
					resp.StatusCode = http.StatusUnauthorized
					resp.Header.Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="not `+credentials+`"`)
				case strings.HasPrefix(req.URL.Path, testenv.AtToken), strings.HasPrefix(req.URL.Path, testenv.AtRevoke):
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
			l := &testenv.Output{T: t}
			l.Attach(d)
			l.AddError(w.Call(d))
			l.AddStatus(d, w.Lab.MCPURL())
			status, err := d.Status(t.Context(), w.Lab.MCPURL())
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(status)
			if err != nil {
				t.Fatal(err)
			}
			l.Add(string(text))
			rec := w.Record()
			if rec.GrantError != nil {
				l.Add(rec.GrantError.Code + " " + rec.GrantError.Description)
			}
			if rec.Retry != nil {
				l.Add(rec.Retry.Reason)
			}
			result, err := d.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
			l.AddError(err)
			if err == nil {
				l.AddError(result.RevokeError)
			}
			pair := url.QueryEscape("app") + ":" + url.QueryEscape("S3cr3t/of:the+app=")
			header := base64.StdEncoding.EncodeToString([]byte(pair))
			for _, text := range l.Texts {
				for _, secret := range []string{"S3cr3t/of", "S3cr3t%2Fof", "the+app", "the%2Bapp", header[:10], header[10:20], header[len(header)-10:]} {
					if strings.Contains(text, secret) {
						t.Errorf("%q shows %q", text, secret)
					}
				}
			}
		})
	}
}
