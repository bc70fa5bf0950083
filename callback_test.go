package handstamp_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
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
		w := testenv.New(t, lab.Habits{})
		c, line := w.Recorded()
		line.OnJSON(testenv.AtServer, func(document map[string]any) { document["authorization_endpoint"] = endpoint })
		status := make(chan int, 1)
		c.Prompt = handstamp.Prompt{OpenURL: func(ctx context.Context, rawURL string) error {
			u, err := url.Parse(rawURL)
			if err != nil {
				return err
			}
			q := u.Query()
			back := q.Get("redirect_uri") + "?" + url.Values{"error": {"access_denied"}, "state": {q.Get("state")}, "iss": {w.Lab.Issuer()}}.Encode()
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
			_, err := c.Login(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
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

// A callback must come from one of the tenants that the template stands for.
func TestCallbackOfATenant(t *testing.T) {
	const path = "/9188040d-6c67-4c5b-b112-36a304b66dad"
	for iss, right := range map[string]bool{
		"BASE" + path: true, "BASE/72f988bf": true, "": false, "BASE/": false, "BASE/a/b": false, "BASE/%2e%2e": false, "BASE/{tenantid}": false,
		"https://evil.example" + path: false,
	} {
		w := testenv.New(t, lab.Habits{IssuerPath: path, Iss: lab.IssOn})
		c, line := w.Recorded()
		line.OnJSON(testenv.AtServer, func(d map[string]any) { d["issuer"] = w.Lab.URL() + "/{tenantid}" })
		c.AuthorizationServer = &handstamp.AuthorizationServer{Issuer: w.Lab.Issuer()}
		c.Prompt.Authorize = func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
			params, err := w.Consent(ctx, r)
			params.Set("iss", strings.ReplaceAll(iss, "BASE", w.Lab.URL()))
			return params, err
		}
		if err := w.Login(c); (err == nil) != right {
			t.Errorf("iss %q: error %v, want it taken: %t", iss, err, right)
		}
	}
}
