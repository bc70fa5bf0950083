package lab_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// arrange is what an administrator does for a client of a server with a setup; the client has the
// values and files from then on.
func (c *hand) arrange(setup lab.Setup) (*lab.Arrangement, map[string]string) {
	c.t.Helper()
	a, err := c.server.Arrange(setup)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(a.Close)
	given, err := a.Write(c.t.TempDir())
	if err != nil {
		c.t.Fatal(err)
	}
	if given["way"] != setup.Way || given["issuer"] != c.server.Issuer() {
		c.t.Errorf("the client gets %v", given)
	}
	c.id, c.method = given["client_id"], given["method"]
	if file := given["client_secret_file"]; file != "" {
		c.secret = readTrimmed(c.t, file)
	}
	return a, given
}

func readTrimmed(t testing.TB, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// keyFrom reads an ES256 key as a client does.
func keyFrom(t testing.TB, file string) key {
	t.Helper()
	block, _ := pem.Decode([]byte(readTrimmed(t, file)))
	if block == nil {
		t.Fatalf("%s is not PEM", file)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key{alg: "ES256", signer: private.(crypto.Signer)}
}

// shownSetups shows what an administrator arranges, by the name of the personality.
var shownSetups = map[string]func(t *testing.T, c *hand){
	"machine-secret": func(t *testing.T, c *hand) {
		c.arrange(lab.Setup{Way: lab.WayClientCredentials, Method: lab.MethodBasic})
		form := url.Values{"grant_type": {lab.GrantClientCredentials}}
		r := c.do(c.tokenRequest(form))
		r.is(t, 200, "")
		if !c.works(r.text("access_token")) || r.text("refresh_token") != "" {
			t.Errorf("%s", r.raw)
		}
		c.secret = "wrong"
		c.do(c.tokenRequest(form)).is(t, 401, "invalid_client")
	},
	"machine-key": func(t *testing.T, c *hand) {
		_, given := c.arrange(lab.Setup{Way: lab.WayClientCredentials, Method: lab.MethodPrivateKeyJWT})
		mine := keyFrom(t, given["key_file"])
		form := asserted(url.Values{"grant_type": {lab.GrantClientCredentials}}, mine.sign(t, nil, c.claims(nil)))
		c.form(c.endpoint("/token"), form).is(t, 200, "")
		c.form(c.endpoint("/token"), form).is(t, 401, "invalid_client") // a second time
	},
	"workload": func(t *testing.T, c *hand) {
		a, given := c.arrange(lab.Setup{Way: lab.WayWorkload})
		if given["client_id"] != "" {
			t.Errorf("a client is registered: %v", given)
		}
		before := readTrimmed(t, given["token_file"])
		c.bearer(before, nil).is(t, 200, "")
		c.bearer(before, nil).is(t, 200, "")
		if err := a.Reissue(); err != nil {
			t.Fatal(err)
		}
		given, err := a.Write(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		c.bearer(before, nil).is(t, 400, "invalid_grant")
		c.bearer(readTrimmed(t, given["token_file"]), nil).is(t, 200, "")
	},
	"token-exchange": func(t *testing.T, c *hand) {
		a, given := c.arrange(lab.Setup{Way: lab.WayTokenExchange, Method: lab.MethodBasic})
		token := readTrimmed(t, given["token_file"])
		if tokens := a.Tokens(); len(tokens) != 1 || tokens[0] != token {
			t.Errorf("tokens %q, and the file has another", tokens)
		}
		form := url.Values{
			"grant_type": {lab.GrantTokenExchange}, "subject_token": {token},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		}
		r := c.do(c.tokenRequest(form))
		r.is(t, 200, "")
		if !c.works(r.text("access_token")) ||
			r.text("issued_token_type") != "urn:ietf:params:oauth:token-type:access_token" {
			t.Errorf("%s", r.raw)
		}
		if c.works(token) {
			t.Error("the MCP server takes the caller's token")
		}
		for name, value := range map[string]string{"subject_token": "x", "subject_token_type": "x"} {
			wrong := url.Values{"grant_type": form["grant_type"], "subject_token": form["subject_token"],
				"subject_token_type": form["subject_token_type"]}
			wrong.Set(name, value)
			c.do(c.tokenRequest(wrong)).is(t, 400, "invalid_request")
		}
	},
	"enterprise": func(t *testing.T, c *hand) {
		a, given := c.arrange(lab.Setup{Way: lab.WayEnterprise, Method: lab.MethodBasic})
		company := &hand{t: t, server: a.Company, id: given["company_client_id"], method: lab.MethodBasic,
			secret: readTrimmed(t, given["company_client_secret_file"]), http: c.http}
		idToken := company.login(url.Values{"scope": {"openid"}}).text("id_token")
		jag := company.do(company.tokenRequest(url.Values{
			"grant_type": {lab.GrantTokenExchange}, "subject_token": {idToken},
			"subject_token_type":   {"urn:ietf:params:oauth:token-type:id_token"},
			"requested_token_type": {"urn:ietf:params:oauth:token-type:id-jag"},
			"audience":             {given["issuer"]}, "resource": {c.server.ResourceURL()},
		}))
		jag.is(t, 200, "")
		r := c.do(c.tokenRequest(url.Values{"grant_type": {lab.GrantJWTBearer}, "assertion": {jag.text("access_token")}}))
		r.is(t, 200, "")
		if !c.works(r.text("access_token")) {
			t.Error("the token does not work")
		}
	},
	"device-code": func(t *testing.T, c *hand) {
		c.arrange(lab.Setup{Way: lab.WayDevice})
		r := c.device(url.Values{"scope": nil})
		r.is(t, 200, "")
		if r.text("verification_uri_complete") != "" {
			t.Errorf("the URL has the code: %s", r.raw)
		}
		c.poll(r.text("device_code")).is(t, 400, "authorization_pending")
	},
	"key-configured": func(t *testing.T, c *hand) {
		_, given := c.arrange(lab.Setup{Way: lab.WayCode, Method: lab.MethodPrivateKeyJWT})
		mine := keyFrom(t, given["key_file"])
		code := c.authorize(nil).Get("code")
		c.form(c.endpoint("/token"), c.codeForm(code, nil)).is(t, 401, "invalid_client")
		code = c.authorize(nil).Get("code")
		c.form(c.endpoint("/token"), asserted(c.codeForm(code, nil), mine.sign(t, nil, c.claims(nil)))).is(t, 200, "")
	},
	"certificate": func(t *testing.T, c *hand) {
		_, given := c.arrange(lab.Setup{Way: lab.WayCode, Method: lab.MethodTLS})
		pair, err := tls.LoadX509KeyPair(given["certificate_file"], given["certificate_key_file"])
		if err != nil {
			t.Fatal(err)
		}
		c.present(pair)
		aliases, _ := c.metadata()["mtls_endpoint_aliases"].(map[string]any)
		token, _ := aliases["token_endpoint"].(string)
		code := c.authorize(nil).Get("code")
		form := c.codeForm(code, url.Values{"client_id": {c.id}})
		c.form(c.endpoint("/token"), form).is(t, 401, "invalid_client")
		c.form(token, form).is(t, 200, "")
	},
}

// TestArrangements reports setups that no server could have.
func TestArrangements(t *testing.T) {
	c := start(t, lab.Habits{})
	for _, wrong := range []lab.Setup{{}, {Way: "magic"}, {Way: lab.WayCode, Method: "magic"},
		{Way: lab.WayCode, Method: lab.MethodTLS}} {
		if a, err := c.server.Arrange(wrong); err == nil {
			a.Close()
			t.Errorf("%+v is arranged", wrong)
		}
	}
}

// TestDevicePage has a field for the code of a client that shows no URL with the code in it.
func TestDevicePage(t *testing.T) {
	c := deviceServer(t, lab.Device{OmitComplete: true})
	user := c.device(nil).text("user_code")
	for _, at := range []string{"", "?user_code=ABCD-EFGH"} {
		if r := c.get(c.endpoint("/device") + at); !strings.Contains(r.raw, `name="user_code"`) ||
			!strings.Contains(r.raw, `action="`+c.endpoint("/device")+`"`) {
			t.Errorf("%q has no field: %s", at, r.raw)
		}
	}
	// What the browser does with the field, and then with the button.
	at := c.endpoint("/device") + "?" + url.Values{"user_code": {" " + strings.ToLower(user) + " "}}.Encode()
	if _, err := lab.BrowseWith(t.Context(), c.http, at); err != nil {
		t.Error(err)
	}
	if waiting := c.server.DeviceCodes(); len(waiting) != 0 {
		t.Errorf("%v still wait", waiting)
	}
}
