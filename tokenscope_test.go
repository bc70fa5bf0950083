package handstamp_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// capture is a RoundTripper that sends nothing and remembers the request.
type capture struct{ req *http.Request }

func (c *capture) RoundTrip(req *http.Request) (*http.Response, error) {
	c.req = req
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req,
	}, nil
}

// signedIn returns a session at a server with a login made up for it, whose
// requests are captured.
func signedIn(t *testing.T, serverURL string) (*handstamp.Client, *capture) {
	t.Helper()
	key, err := store.NewKey(serverURL, "")
	if err != nil {
		t.Fatal(err)
	}
	memory := new(store.Memory)
	err = record.Put(t.Context(), memory, &record.Record{
		Version: record.SchemaVersion, Key: key, ServerURL: serverURL,
		Grant: &record.Grant{Issuer: "https://as.example", ClientID: "app", AccessToken: "the-access-token"},
	})
	if err != nil {
		t.Fatal(err)
	}
	base := new(capture)
	return &handstamp.Client{Store: memory, BaseTransport: base, LoginPolicy: handstamp.LoginNever, InsecureAllowHTTP: true}, base
}

// The token goes to the server's origin, to its path and below, and nowhere else.
func TestWhereTheTokenGoes(t *testing.T) {
	for _, test := range []struct {
		server, request string
		attached        bool
	}{
		{"https://mcp.example/mcp", "https://mcp.example/mcp", true},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/", true},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/messages", true},
		{"https://mcp.example/mcp", "https://mcp.example/mcp?session=1", true},
		{"https://mcp.example/mcp", "https://MCP.example:443/mcp", true},
		{"https://mcp.example/mcp/", "https://mcp.example/mcp", true},
		{"https://mcp.example", "https://mcp.example/anything", true},
		{"https://mcp.example/", "https://mcp.example", true},
		{"http://localhost:8000/mcp", "http://localhost:8000/mcp", true},

		{"https://mcp.example/mcp", "https://mcp.example/mcp-evil", false},
		{"https://mcp.example/mcp", "https://mcp.example/mcpx/mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example/mc", false},
		{"https://mcp.example/mcp", "https://mcp.example/", false},
		{"https://mcp.example/mcp", "https://mcp.example", false},
		{"https://mcp.example/mcp", "https://mcp.example/MCP", false},
		{"https://mcp.example/mcp", "https://mcp.example//mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example/%6dcp", false},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/../evil", false},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/%2e%2e/evil", false},
		{"https://mcp.example/mcp", "https://mcp.example/mcp/.%2E/evil", false},
		{"https://mcp.example/mcp", "https://mcp.example/x/../mcp", false},
		{"https://mcp.example/mcp", "http://mcp.example/mcp", false},
		{"https://mcp.example/mcp", "http://mcp.example:443/mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example:444/mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example./mcp", false},
		{"https://mcp.example/mcp", "https://evil.mcp.example/mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example.evil.example/mcp", false},
		{"https://mcp.example/mcp", "https://mcp.example@evil.example/mcp", false},
		{"https://mcp.example/mcp", "https://evil.example/mcp", false},
		{"https://mcp.example/mcp", "ws://mcp.example/mcp", false},
		{"http://localhost:8000/mcp", "http://127.0.0.1:8000/mcp", false},
		{"http://localhost:8000/mcp", "http://localhost:8001/mcp", false},
		{"http://localhost:8000/mcp", "http://localhost/mcp", false},
		{"http://localhost:8000/mcp", "https://localhost:8000/mcp", false},
	} {
		t.Run(test.server+" "+test.request, func(t *testing.T) {
			c, base := signedIn(t, test.server)
			u, err := url.Parse(test.request)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Transport(test.server).RoundTrip(&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := base.req.Header.Get("Authorization"); (got != "") != test.attached {
				t.Errorf("Authorization %q, want one: %t", got, test.attached)
			}
		})
	}
}

// What a caller put into the Authorization header stays, and its rejection is the
// caller's to deal with.
func TestCallersAuthorization(t *testing.T) {
	for _, own := range [][]string{{"Basic dTpw"}, {"Bearer own"}, {""}, {}, {"a", "b"}} {
		t.Run(fmt.Sprintf("%q", own), func(t *testing.T) {
			const server = "https://mcp.example/mcp"
			c, base := signedIn(t, server)
			req, err := http.NewRequest(http.MethodPost, server, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header["Authorization"] = own
			before := maps.Clone(req.Header)
			resp, err := c.Transport(server).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := base.req.Header["Authorization"]; !slices.Equal(got, own) {
				t.Errorf("sent %q, want %q", got, own)
			}
			if !maps.EqualFunc(req.Header, before, slices.Equal) {
				t.Error("the caller's request was changed")
			}
		})
	}
	w := testenv.New(t, lab.Habits{})
	c := w.Session()
	req, err := http.NewRequest(http.MethodPost, w.Lab.MCPURL(), strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer own")
	resp, err := c.HTTPClient(w.Lab.MCPURL()).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", resp.StatusCode)
	}
	w.WantCounts(map[string]int{"mcp": 1, "register": 0})
	w.WantTabs(0)
}
