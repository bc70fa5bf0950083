package handstamp_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// A consent page may post to the redirect URI. Browsers write its origin in lower case and
// without the default port, however the metadata writes the authorization endpoint.
func TestPostedCallbackFromTheDefaultPort(t *testing.T) {
	for endpoint, origin := range map[string]string{
		"https://as.example/authorize":     "https://as.example",
		"https://as.example:443/authorize": "https://as.example",
		"https://AS.Example:443/authorize": "https://as.example",
		"https://as.example:8443/a?b=c":    "https://as.example:8443",
	} {
		w := newWorld(t, lab.Habits{})
		c, line := w.wired()
		line.onJSON(atServer, func(document map[string]any) { document["authorization_endpoint"] = endpoint })
		status := make(chan int, 1)
		c.Prompt = handstamp.Prompt{OpenURL: func(ctx context.Context, rawURL string) error {
			u, err := url.Parse(rawURL)
			if err != nil {
				return err
			}
			q := u.Query()
			back := q.Get("redirect_uri") + "?" + url.Values{"error": {"access_denied"}, "state": {q.Get("state")}, "iss": {w.lab.Issuer()}}.Encode()
			req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, back, strings.NewReader(""))
			if err != nil {
				return err
			}
			req.Header.Set("Origin", origin)
			go func() {
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					status <- 0
					return
				}
				resp.Body.Close()
				status <- resp.StatusCode
			}()
			return nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		ended := make(chan error, 1)
		go func() {
			_, err := c.Login(ctx, w.lab.MCPURL(), handstamp.LoginOptions{Force: true})
			ended <- err
		}()
		select {
		case got := <-status:
			if got != http.StatusOK {
				t.Errorf("%s: the callback from %s gets status %d", endpoint, origin, got)
			}
		case <-ctx.Done():
			t.Errorf("%s: no callback", endpoint)
		}
		cancel()
		<-ended
	}
}
