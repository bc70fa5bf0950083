package handstamp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// The initial access token and the configured client's secret go to the authorization server where they
// were used first, and not to whichever the MCP server names later.
func TestConfiguredSecretsStayAtTheirServer(t *testing.T) {
	t.Parallel()
	t.Run("initial access token", func(t *testing.T) {
		staysAtItsServer(t, lab.Habits{}, func(c *handstamp.Client, secret secret.String) {
			c.InitialAccessToken = secret
		})
	})
	t.Run("client secret", func(t *testing.T) {
		staysAtItsServer(t, lab.Habits{NoRegistration: true}, func(c *handstamp.Client, secret secret.String) {
			c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: secret, TokenEndpointAuthMethod: lab.MethodPost}
		})
	})
}

func staysAtItsServer(t *testing.T, habits lab.Habits, configure func(*handstamp.Client, secret.String)) {
	const secret = "configured-0123456789"
	w, other := testenv.New(t, habits), testenv.New(t, habits)
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: secret, Method: lab.MethodPost})
	moved := false
	session := func() (*handstamp.Client, *testenv.Recorder) {
		c, line := w.Recorded()
		configure(c, secret)
		line.OnJSON(testenv.AtResource, func(document map[string]any) {
			if moved {
				document["authorization_servers"] = []string{other.Lab.Issuer()}
			}
		})
		return c, line
	}
	c, line := session()
	w.MustLogin(c)
	if !strings.Contains(sentTo(line, w.Lab.Issuer()), secret) {
		t.Error("the secret was not sent at all")
	}
	moved = true
	for name, visit := range map[string]func(*handstamp.Client){
		"inspect": func(c *handstamp.Client) { _, _ = c.Inspect(t.Context(), w.Lab.MCPURL()) },
		"inspect, and the store cannot be read": func(c *handstamp.Client) {
			c.Store = lockedKeyring{c.Store}
			in, err := c.Inspect(t.Context(), w.Lab.MCPURL())
			if err != nil || in.Status.State != handstamp.StateUnusable || in.Plan != nil {
				t.Errorf("the inspection found %+v, %v", in, err)
			}
			testenv.WantKind(t, in.LoginError, handstamp.ErrStore)
		},
		"log in": func(c *handstamp.Client) { _ = w.Login(c) },
	} {
		c, line = session()
		visit(c)
		sent := sentTo(line, other.Lab.Issuer())
		if !strings.Contains(sent, testenv.AtServer) || strings.Contains(sent, secret) {
			t.Errorf("%s: the other server was sent\n%s", name, sent)
		}
	}
}

// lockedKeyring is a store that cannot be read.
type lockedKeyring struct{ store.Store }

func (lockedKeyring) Get(context.Context, store.Key) ([]byte, store.Revision, error) {
	return nil, "", store.ErrUnusable
}

// sentTo returns what was sent to an origin.
func sentTo(line *testenv.Recorder, origin string) string {
	var b strings.Builder
	for _, r := range line.Requests(0) {
		if strings.HasSuffix(origin, r.Host) {
			b.WriteString(r.Raw)
		}
	}
	return b.String()
}

// An empty certificate is an error before anything is sent.
func TestEmptyCertificate(t *testing.T) {
	w := testenv.New(t, lab.Habits{Methods: []string{lab.MethodNone, lab.MethodTLS}})
	c := w.Session()
	c.Certificate = new(tls.Certificate)
	testenv.WantKind(t, w.Login(c), handstamp.ErrInvalidConfig)
}

// A server that lists a method for keys and registers none with it gets another method, whatever it
// says, and later sessions keep that.
func TestKeyIsNotRegistered(t *testing.T) {
	key, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	for name, reject := range map[string]string{
		"named":    `{"error":"invalid_client_metadata","error_description":"token_endpoint_auth_method private_key_jwt is not allowed"}`,
		"the keys": `{"error":"invalid_client_metadata","error_description":"jwks is not supported"}`,
		"unnamed":  `{"error":"invalid_client_metadata"}`,
		"ignored":  "",
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{Methods: []string{lab.MethodPrivateKeyJWT, lab.MethodNone, lab.MethodPost}})
			session := func() *handstamp.Client {
				c := w.Session()
				c.Key = key
				c.AuthTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
					return rejectKeys(req, reject)
				})
				return c
			}
			w.MustLogin(session())
			for range 2 {
				w.Expire()
				w.MustCall(session())
			}
			w.WantTabs(1)
			w.WantCounts(map[string]int{"register": 1})
		})
	}
}

// rejectKeys responds to registrations with keys, or leaves the keys out if there is no response.
func rejectKeys(req *http.Request, response string) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, "/register") {
		return http.DefaultTransport.RoundTrip(req)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, err
	}
	if members["jwks"] != nil && response != "" {
		resp := &http.Response{StatusCode: 400, Header: http.Header{"Content-Type": {"application/json"}}, Request: req}
		testenv.SetBody(resp, []byte(response))
		return resp, nil
	}
	delete(members, "jwks")
	if members["token_endpoint_auth_method"] == lab.MethodPrivateKeyJWT {
		members["token_endpoint_auth_method"] = lab.MethodNone
	}
	body, _ = json.Marshal(members)
	again, err := http.NewRequestWithContext(req.Context(), req.Method, req.URL.String(), strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	again.Header = req.Header
	return http.DefaultTransport.RoundTrip(again)
}

// A logout deletes every registration that can be deleted, whatever becomes of another one.
func TestLogoutDeletesWhatItCan(t *testing.T) {
	t.Parallel()
	w, other := testenv.New(t, managed(false)), testenv.New(t, managed(false))
	c, line := w.Recorded()
	w.MustLogin(c)
	line.OnJSON(testenv.AtResource, func(document map[string]any) {
		document["authorization_servers"] = []string{other.Lab.Issuer()}
	})
	w.MustLogin(c)
	w.Lab.SetFault("registration", lab.Fault{Kind: lab.FaultStatus, Status: 403})
	result, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{DeleteClient: true})
	if err != nil || !result.ClientDeleted || result.DeleteClientError == nil {
		t.Errorf("%+v, %v", result, err)
	}
	w.WantCounts(map[string]int{"registration": 1})
	other.WantCounts(map[string]int{"registration": 1})
}

// A registration that brings no client is audited, too.
func TestFailedRegistrationIsAudited(t *testing.T) {
	for outcome, fault := range map[string]lab.Fault{
		"registration_required": {Kind: lab.FaultStatus, Status: http.StatusForbidden},
		"unreachable":           {Kind: lab.FaultStatus, Status: http.StatusBadGateway},
		"protocol": {Kind: lab.FaultStatus, Status: http.StatusCreated, ContentType: "application/json",
			Body: `{"client_id":"c","token_endpoint_auth_method":"client_secret_basic"}`},
	} {
		t.Run(outcome, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			w.Lab.SetFault("register", fault)
			var log bytes.Buffer
			c := w.Session()
			c.Audit = slog.NewJSONHandler(&log, nil)
			if err := w.Login(c); err == nil {
				t.Fatal("no error")
			}
			var r map[string]any
			line, _, _ := strings.Cut(log.String(), "\n")
			if err := json.Unmarshal([]byte(line), &r); err != nil || r["msg"] != handstamp.AuditRegistration ||
				r[handstamp.AuditOutcome] != outcome || r[handstamp.AuditIssuer] != w.Lab.Issuer() {
				t.Errorf("%v in %s", err, log.String())
			}
		})
	}
}
