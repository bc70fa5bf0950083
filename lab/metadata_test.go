package lab_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// TestServerForms finds the server's metadata at one place only.
func TestServerForms(t *testing.T) {
	places := []string{
		"/.well-known/oauth-authorization-server/tenant",
		"/.well-known/openid-configuration/tenant",
		"/tenant/.well-known/openid-configuration",
		"/.well-known/oauth-authorization-server",
		"/.well-known/openid-configuration",
	}
	for form, want := range map[string]string{
		"":                   places[0],
		lab.ServerRFC8414:    places[0],
		lab.ServerOIDCInsert: places[1],
		lab.ServerOIDCAppend: places[2],
		lab.ServerNone:       "",
	} {
		c := start(t, lab.Habits{ServerForm: form, IssuerPath: "/tenant"})
		for _, place := range places {
			answer := c.get(c.server.URL() + place)
			if there := answer.status == http.StatusOK; there != (place == want) {
				t.Errorf("%q: %s: %d", form, place, answer.status)
			}
			if place == want && answer.text("token_endpoint") != c.server.URL()+"/tenant/token" {
				t.Errorf("%q: token endpoint %s", form, answer.text("token_endpoint"))
			}
			if got := c.get(strings.TrimSuffix(c.server.MCPURL(), "/mcp") + place).status; got != http.StatusNotFound {
				t.Errorf("%q: the MCP server has %s", form, place)
			}
		}
		if got := c.server.Counts()["server_metadata"]; got != 2*len(places) {
			t.Errorf("counted %d", got)
		}
	}
}

// TestDefaultEndpoints has no metadata, and endpoints at the root.
func TestDefaultEndpoints(t *testing.T) {
	c := start(t, lab.Habits{ServerForm: lab.ServerNone, ResourceForm: lab.ResourceNone, OneOrigin: true})
	if c.server.URL()+"/mcp" != c.server.MCPURL() {
		t.Errorf("%s is not on %s", c.server.MCPURL(), c.server.URL())
	}
	if got := c.call("", "ping", "").header.Get("WWW-Authenticate"); got != "Bearer" {
		t.Errorf("challenge %s", got)
	}
	if !c.works(c.login(nil).text("access_token")) {
		t.Error("the login at the default endpoints does not work")
	}
}

// TestResourceForms finds the resource's metadata at one place only.
func TestResourceForms(t *testing.T) {
	places := []string{
		"/.well-known/oauth-protected-resource/mcp",
		"/.well-known/oauth-protected-resource",
		"/about/resource.json",
	}
	for _, test := range []struct {
		form, place string
		challenged  bool
	}{
		{"", places[0], true},
		{lab.ResourcePath, places[0], false},
		{lab.ResourceRoot, places[1], false},
		{lab.ResourceHeader, places[2], true},
		{lab.ResourceNone, "", false},
	} {
		c := start(t, lab.Habits{ResourceForm: test.form})
		origin := strings.TrimSuffix(c.server.MCPURL(), "/mcp")
		for _, place := range places {
			if there := c.get(origin+place).status == http.StatusOK; there != (place == test.place) {
				t.Errorf("%q: %s: there %v", test.form, place, there)
			}
			if got := c.get(c.server.URL() + place).status; got != http.StatusNotFound {
				t.Errorf("%q: the authorization server has %s", test.form, place)
			}
		}
		challenge := c.call("", "ping", "").header.Get("WWW-Authenticate")
		if got := strings.Contains(challenge, `resource_metadata="`+origin+test.place+`"`); got != test.challenged {
			t.Errorf("%q: challenge %s", test.form, challenge)
		}
	}
}

// TestNames shows what the documents call the resource and the issuer.
func TestNames(t *testing.T) {
	for _, test := range []struct {
		habits                   lab.Habits
		resource, listed, issuer string // suffixes of the origins
	}{
		{lab.Habits{}, "/mcp", "", ""},
		{lab.Habits{MCPPath: "/v1/sse"}, "/v1/sse", "", ""},
		{lab.Habits{ResourceName: lab.NameOrigin}, "", "", ""},
		{lab.Habits{ResourceName: lab.NameQuery}, "/mcp?version=1", "", ""},
		{lab.Habits{ResourceName: lab.NameSlash}, "/mcp/", "", ""},
		{lab.Habits{IssuerPath: "/t"}, "/mcp", "/t", "/t"},
		{lab.Habits{IssuerSlash: lab.SlashMetadata}, "/mcp", "", "/"},
		{lab.Habits{IssuerSlash: lab.SlashResource}, "/mcp", "/", ""},
		{lab.Habits{IssuerSlash: lab.SlashBoth}, "/mcp", "/", "/"},
	} {
		c := start(t, test.habits)
		path := test.habits.MCPPath
		if path == "" {
			path = "/mcp"
		}
		origin := strings.TrimSuffix(c.server.MCPURL(), path)
		document := c.get(origin + "/.well-known/oauth-protected-resource" + path).document
		if got := document["resource"]; got != origin+test.resource || got != c.server.ResourceURL() {
			t.Errorf("%+v: resource %v", test.habits, got)
		}
		if got := fmt.Sprint(document["authorization_servers"]); got != "["+c.server.URL()+test.listed+"]" {
			t.Errorf("%+v: listed %s", test.habits, got)
		}
		if got := c.metadata()["issuer"]; got != c.server.URL()+test.issuer || got != c.server.Issuer() {
			t.Errorf("%+v: issuer %v", test.habits, got)
		}
		if got := c.authorize(nil).Get("iss"); got != c.server.Issuer() {
			t.Errorf("%+v: iss %v", test.habits, got)
		}
	}
	elsewhere := start(t, lab.Habits{MetadataIssuer: "https://elsewhere.test", ResourceName: "https://elsewhere.test/mcp"})
	if elsewhere.metadata()["issuer"] != "https://elsewhere.test" || elsewhere.server.ResourceURL() != "https://elsewhere.test/mcp" {
		t.Error("literal names are not taken")
	}
}

// TestMetadataMembers leaves members out, and lists scopes in both documents.
func TestMetadataMembers(t *testing.T) {
	c := start(t, lab.Habits{})
	full := c.metadata()
	if got := fmt.Sprint(full["code_challenge_methods_supported"]); got != "[S256]" {
		t.Errorf("PKCE methods %s", got)
	}
	if _, there := full["scopes_supported"]; there {
		t.Error("scopes are listed")
	}
	bare := start(t, lab.Habits{OmitPKCE: true, ScopesSupported: []string{"read"}, Offline: lab.OfflineListed})
	document := bare.metadata()
	if _, there := document["code_challenge_methods_supported"]; there {
		t.Error("PKCE methods are listed")
	}
	resource := bare.get(strings.TrimSuffix(bare.server.MCPURL(), "/mcp") + "/.well-known/oauth-protected-resource/mcp").document
	if got := fmt.Sprint(document["scopes_supported"]); got != "[read offline_access]" {
		t.Errorf("the server's scopes %s", got)
	}
	if got := fmt.Sprint(resource["scopes_supported"]); got != "[read]" {
		t.Errorf("the resource's scopes %s", got)
	}
}

// TestStrangeHost responds under no other name.
func TestStrangeHost(t *testing.T) {
	c := start(t, lab.Habits{})
	for _, target := range []string{c.server.MCPURL(), c.endpoint("/token"), c.endpoint("/authorize")} {
		r := c.request(http.MethodGet, target, "")
		r.Host = "rebound.test"
		if got := c.do(r).status; got != http.StatusNotFound {
			t.Errorf("%s: %d", target, got)
		}
	}
	if got := c.server.Counts()["other"]; got != 3 {
		t.Errorf("counted %d", got)
	}
	if !slices.IsSortedFunc(c.server.Requests(), func(a, b lab.Request) int { return a.Number - b.Number }) {
		t.Error("the request log is not in order")
	}
}
