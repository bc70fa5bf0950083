package security_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// fill puts the addresses at hand into a value of a table.
func fill(w *testenv.Env, e *testenv.Attacker, value any) any {
	text, ok := value.(string)
	if !ok {
		return value
	}
	mcp := w.Lab.MCPURL()
	host := strings.TrimSuffix(strings.TrimPrefix(mcp, "http://"), "/mcp")
	return strings.NewReplacer(
		"EVIL", e.URL, "BAD", e.Host(), "MCP", mcp, "HOST", host, "ISSUER", w.Lab.Issuer(), "LONG", strings.Repeat("a", 9<<10),
	).Replace(text)
}

// A challenge may name metadata on the server's own origin only. One that names another place is
// as good as none: requests go to the server's own well-known URLs, and to no other host.
func TestChallengeNamesAnotherOrigin(t *testing.T) {
	for _, named := range []string{
		"EVIL/.well-known/oauth-protected-resource/mcp", "//BAD/resource", "https://HOST/resource", "http://user@HOST/resource",
		"http://HOST@BAD/resource", "javascript:alert(1)", "file:///etc/passwd", "data:application/json,{}",
		"http://169.254.169.254/latest/meta-data", "ftp://HOST/resource", "http://HOST.BAD/resource",
	} {
		t.Run(named, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			e := testenv.NewAttacker(t, w.Lab)
			c, line := w.Recorded()
			line.OnResponse(func(_ *http.Request, resp *http.Response) {
				if resp.StatusCode == http.StatusUnauthorized {
					resp.Header.Set("WWW-Authenticate", fmt.Sprintf("Bearer resource_metadata=%q", fill(w, e, named)))
				}
			})
			w.MustLogin(c)
			w.Lab.RevokeFamilies()
			w.MustCall(c) // where the challenge comes with a rejected request
			e.WantSilence()
			w.WantTabs(2)
			w.WantCounts(map[string]int{"resource_metadata": 2})
		})
	}
}

// The metadata of another resource is no licence for this one.
func TestMetadataOfAnotherResource(t *testing.T) {
	for _, resource := range []any{
		"EVIL/mcp", "MCP-evil", "MCP/deeper", "http://HOST/mc", "http://HOST/mcp/../mcp-evil", "http://HOST/%6dcp", "http://HOST/MCP",
		"https://HOST/mcp", "http://user@HOST/mcp", "http://HOST@BAD/mcp", "http://localhost/mcp", "urn:mcp", "/mcp", "", nil, 42, []string{},
	} {
		t.Run(fmt.Sprint(resource), func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			e := testenv.NewAttacker(t, w.Lab)
			c, line := w.Recorded()
			line.OnJSON(testenv.AtResource, func(document map[string]any) {
				document["resource"] = fill(w, e, resource)
				// A capable attacker's document would be followed.
				document["authorization_servers"] = []string{e.URL}
			})
			testenv.WantKind(t, w.Login(c), handstamp.ErrProtocol)
			e.WantSilence()
			w.WantTabs(0)
			w.WantNoCredentials()
		})
	}
}

// wrongAddresses are what no endpoint and no authorization server can be.
var wrongAddresses = []string{
	"javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,<script>", "file:///etc/passwd", "vbscript:x", "intent://x#Intent;end",
	"ms-settings:network", "ftp://BAD/x", "ws://BAD/x", "\x01javascript:alert(1)", "https:opaque", "https://", "//BAD/x", "/x", "x",
	"http://as.example/x", "http://10.0.0.1/x", "http://169.254.169.254/x", "http://127.0.0.1.nip.example/x", "https://user:pw@BAD/x",
	"https://BAD/x#fragment", "https://BAD/`touch x`", "https://BAD/\"x", "https://BAD/\\x", "https://BAD/a b", "https://BAD/\x1b[31m",
	"https://BAD/\nx", "https://BAD/\u202ex", "https://BAD/LONG",
}

// A document with an address that is none is rejected whole, and nothing in it is
// opened, asked or shown as a link.
func TestAddressesInMetadata(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	e := testenv.NewAttacker(t, w.Lab)
	rejected := func(t *testing.T, at string, change func(map[string]any)) {
		t.Helper()
		c, line := w.Recorded()
		line.OnJSON(at, change)
		testenv.WantKind(t, w.Login(c), handstamp.ErrProtocol)
		w.WantTabs(0)
	}
	for _, address := range wrongAddresses {
		t.Run(fmt.Sprintf("%.40q", address), func(t *testing.T) {
			value := fill(w, e, address)
			for _, member := range []string{"authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"} {
				rejected(t, testenv.AtServer, func(document map[string]any) { document[member] = value })
			}
			rejected(t, testenv.AtServer, func(document map[string]any) { document["issuer"] = value })
			rejected(t, testenv.AtResource, func(document map[string]any) { document["authorization_servers"] = []any{value} })
		})
	}
	for _, address := range wrongAddresses[:9] {
		t.Run("documentation "+address, func(t *testing.T) {
			value := fill(w, e, address)
			for _, member := range []string{
				"service_documentation", "op_policy_uri", "op_tos_uri", "jwks_uri", "introspection_endpoint", "device_authorization_endpoint", "x_endpoint",
			} {
				rejected(t, testenv.AtServer, func(document map[string]any) { document[member] = value })
			}
			for _, member := range []string{"resource_documentation", "resource_policy_uri", "resource_tos_uri", "jwks_uri", "x_url"} {
				rejected(t, testenv.AtResource, func(document map[string]any) { document[member] = value })
			}
			for _, member := range []string{"client_uri", "logo_uri", "tos_uri", "policy_uri", "registration_client_uri"} {
				rejected(t, testenv.AtRegister, func(document map[string]any) { document[member] = value })
			}
		})
	}
	e.WantSilence()
	w.WantNoCredentials()
}

// A document speaks for the issuer it was looked for under, and for no other.
func TestMetadataOfAnotherIssuer(t *testing.T) {
	for _, issuer := range []any{
		"EVIL", "EVIL/tenant", "ISSUER-evil", "ISSUER/evil", "ISSUER//", "ISSUER/.", "ISSUER?x=1", "http://HOST/tenant",
		"https://127.0.0.1/tenant", "http://localhost/tenant", "http://xn--127-0-0-1-x.example/tenant", "", nil, 42,
	} {
		t.Run(fmt.Sprint(issuer), func(t *testing.T) {
			w := testenv.New(t, lab.Habits{IssuerPath: "/tenant"})
			e := testenv.NewAttacker(t, w.Lab)
			c, line := w.Recorded()
			line.OnJSON(testenv.AtServer, func(document map[string]any) {
				document["issuer"] = fill(w, e, issuer)
				document["token_endpoint"] = e.URL + "/token"
			})
			testenv.WantKind(t, w.Login(c), handstamp.ErrProtocol)
			e.WantSilence()
			w.WantTabs(0)
			w.WantNoCredentials()
		})
	}
	for _, spelling := range []string{"Tenant", "TENANT", "%74enant", "tenant%2f"} {
		t.Run(spelling, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{IssuerPath: "/tenant"})
			c, line := w.Recorded()
			line.OnJSON(testenv.AtServer, func(document map[string]any) { document["issuer"] = w.Lab.URL() + "/" + spelling })
			testenv.WantKind(t, w.Login(c), handstamp.ErrProtocol)
			w.WantTabs(0)
		})
	}
}

// Without PKCE in the server's metadata no browser opens, unless the user has configured
// that the server supports it all the same.
func TestPKCEIsRequired(t *testing.T) {
	for name, methods := range map[string]any{"omitted": nil, "empty": []string{}, "plain": []string{"plain"}, "lower case": []string{"s256"}} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			change := func(document map[string]any) {
				if document["code_challenge_methods_supported"] = methods; methods == nil {
					delete(document, "code_challenge_methods_supported")
				}
			}
			c, line := w.Recorded()
			line.OnJSON(testenv.AtServer, change)
			err := w.Login(c)
			testenv.WantKind(t, err, handstamp.ErrProtocol)
			var e *handstamp.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), "PKCE") || e.Hint == "" {
				t.Errorf("the error does not say what is wrong and what to do: %v", err)
			}
			w.WantTabs(0)
			w.WantCounts(map[string]int{"register": 0})

			c, line = w.Recorded()
			c.InsecureAllowMissingPKCE = true
			line.OnJSON(testenv.AtServer, change)
			w.MustLogin(c) // the lab redeems no code without a right verifier
			w.WantTabs(1)
		})
	}
}
