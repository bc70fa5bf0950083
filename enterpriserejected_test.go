package handstamp_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// Each of the three steps has its own sentence, and none has a secret.
func TestEnterpriseRejections(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*workplace, *handstamp.Client)
		kind   error
		says   string
	}{
		"the company knows the client at the server by another id": {
			func(w *workplace, _ *handstamp.Client) {
				w.company.AllowExchange(w.servers[0].Lab.Issuer(), "another-client")
			}, handstamp.ErrDenied, "rejected the assertion, which the company's identity provider",
		},
		"the server does not trust the company": {
			func(w *workplace, _ *handstamp.Client) { w.servers[0].Lab.TrustIssuer(w.company.Issuer(), "") },
			handstamp.ErrDenied, "rejected the assertion, which the company's identity provider",
		},
		"another secret at the server": {
			func(_ *workplace, c *handstamp.Client) { c.Registration.ClientSecret = "other" },
			handstamp.ErrClientRejected, "does not accept the configured client \"at-server\"",
		},
		"no client at the server": {
			func(_ *workplace, c *handstamp.Client) { c.Registration = nil },
			handstamp.ErrInvalidConfig, "set the client's Registration",
		},
		"no client at the company": {
			func(w *workplace, c *handstamp.Client) {
				c.Grant = handstamp.Enterprise{Issuer: w.company.Issuer()}
			}, handstamp.ErrInvalidConfig, "no client is stored for the identity provider",
		},
		"another secret at the company": {
			func(w *workplace, c *handstamp.Client) {
				c.Grant = handstamp.Enterprise{Issuer: w.company.Issuer(), ClientID: "at-company", ClientSecret: "other"}
			}, handstamp.ErrClientRejected, "the login at the company's identity provider",
		},
		"no company": {
			func(w *workplace, c *handstamp.Client) {
				c.Grant = handstamp.Enterprise{Issuer: "nowhere", ClientID: "at-company"}
			}, handstamp.ErrInvalidConfig, "malformed",
		},
		"the company cannot be reached": {
			func(w *workplace, _ *handstamp.Client) { w.company.Close() }, handstamp.ErrUnreachable, "identity provider",
		},
		"a forged id token": {
			func(w *workplace, c *handstamp.Client) {
				c.AuthTransport = changing{grant: "authorization_code", change: forge}
			}, handstamp.ErrProtocol, "no key of the issuer verifies the id token",
		},
		"no id token": {
			func(w *workplace, c *handstamp.Client) {
				c.AuthTransport = changing{grant: "authorization_code", change: func(resp *http.Response) (*http.Response, error) {
					return replaceMember(resp, "id_token", "null")
				}}
			}, handstamp.ErrProtocol, "issued no id token",
		},
		"another kind of token": {
			func(w *workplace, c *handstamp.Client) {
				c.AuthTransport = changing{grant: "token-exchange", change: func(resp *http.Response) (*http.Response, error) {
					return replaceMember(resp, "issued_token_type", `"urn:ietf:params:oauth:token-type:access_token"`)
				}}
			}, handstamp.ErrProtocol, "another type of token",
		},
		"a grant for another server": {
			func(w *workplace, c *handstamp.Client) {
				c.AuthTransport = changing{grant: "token-exchange", change: madeOutFor("https://other.example")}
			}, handstamp.ErrProtocol, "a grant for https://other.example",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkplace(t, 1)
			c := w.session(0)
			test.change(w, c)
			_, err := c.Login(t.Context(), w.servers[0].Lab.MCPURL(), handstamp.LoginOptions{})
			testenv.WantKind(t, err, test.kind)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%v, want %q", err, test.says)
			}
			if strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), "s%+") {
				t.Errorf("%v has a secret", err)
			}
			if n := w.servers[0].Lab.Counts()["token:jwt_bearer"]; n > 1 {
				t.Errorf("%d requests with a grant, want 1 at most", n)
			}
		})
	}
	t.Run("the company allows no such server at all", func(t *testing.T) {
		w := newWorkplace(t, 1)
		stranger := testenv.New(t, lab.Habits{Grants: []string{lab.GrantJWTBearer}, NoRegistration: true})
		c := w.session(0)
		_, err := c.Login(t.Context(), stranger.Lab.MCPURL(), handstamp.LoginOptions{})
		var e *handstamp.Error
		if !errors.As(err, &e) || e.Kind != handstamp.ErrDenied || e.Code != "invalid_target" || e.Server != stranger.Lab.MCPURL() {
			t.Errorf("%v", err)
		}
		if n := w.company.Counts()["token:exchange"]; n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
}

// The provider's keys are looked at where they can be had; without them the connection vouches.
func TestEnterpriseWithoutKeysOfTheProvider(t *testing.T) {
	w := newWorkplace(t, 1)
	w.company.SetFault("jwks", lab.Fault{Kind: lab.FaultStatus, Status: 404})
	w.servers[0].MustCall(w.session(0))
}

// forge changes the signature of the id token.
func forge(resp *http.Response) (*http.Response, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_, rest, _ := bytes.Cut(body, []byte(`"id_token":"`))
	token, _, _ := bytes.Cut(rest, []byte(`"`))
	signature := token[bytes.LastIndexByte(token, '.')+1:]
	forged := bytes.Replace(body, signature, bytes.Repeat([]byte("A"), len(signature)), 1)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(forged)), int64(len(forged))
	resp.Header.Del("Content-Length")
	return resp, nil
}

// changing changes the responses to the token requests with a grant.
type changing struct {
	grant  string
	change func(*http.Response) (*http.Response, error)
}

func (c changing) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && bytes.Contains(body, []byte(c.grant)) && bytes.Contains(body, []byte("grant_type=")) {
		return c.change(resp)
	}
	return resp, err
}

// An MCP server that rejects every token gets one more from the chain, whatever the number of
// requests and sessions in a process.
func TestEnterpriseServerRejectsEveryToken(t *testing.T) {
	t.Parallel()
	w := employed(t, 1)
	w.servers[0].Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
	c := w.stored(0)
	for range 4 {
		if err := w.servers[0].Call(c); err == nil {
			t.Fatal("no error")
		}
	}
	if n := w.servers[0].Lab.Counts()["token:jwt_bearer"]; n > 1 {
		t.Errorf("%d assertions were sent, want 1\n%s", n, w.servers[0].Diary())
	}
	if n := w.company.Counts()["token:exchange"]; n > 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
}

// madeOutFor returns a change of a response: the JWT in it has another audience.
func madeOutFor(audience string) func(*http.Response) (*http.Response, error) {
	return func(resp *http.Response) (*http.Response, error) {
		payload := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"aud":%q}`, audience))
		token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256"}`)) + "." + payload + ".AA"
		return replaceMember(resp, "access_token", strconv.Quote(token))
	}
}
