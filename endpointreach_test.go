package handstamp_test

import (
	"crypto/tls"
	"net"
	"slices"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// The endpoints that a login can do without are as little behind the firewall of its user as the
// others, aliases for clients with certificates included; also where the application has a
// transport of its own, which checks no address.
func TestPrivateAddressesOfOptionalEndpoints(t *testing.T) {
	for _, host := range somePrivateHosts() {
		for _, member := range []string{
			"pushed_authorization_request_endpoint", "userinfo_endpoint", "device_authorization_endpoint", "mtls_endpoint_aliases",
		} {
			t.Run(member+" "+host, func(t *testing.T) {
				t.Parallel()
				testenv.InBubble(t, lab.Habits{OpenID: true, PAR: lab.PAROffered}, func(t *testing.T, w *testenv.Env) {
					c, line := w.Recorded()
					c.Scopes, c.Certificate = []string{"openid"}, &tls.Certificate{Certificate: [][]byte{{}}}
					line.OnJSON(testenv.AtServer, func(document map[string]any) {
						there := "https://" + net.JoinHostPort(host, "8443") + "/x"
						if host[0] == '[' {
							there = "https://" + host + ":8443/x"
						}
						document[member] = there
						if member == "mtls_endpoint_aliases" {
							document[member] = map[string]any{
								"token_endpoint": there, "registration_endpoint": there, "userinfo_endpoint": there,
								"pushed_authorization_request_endpoint": there, "revocation_endpoint": there,
							}
						}
					})
					line.OnJSON(testenv.AtToken, func(document map[string]any) { delete(document, "id_token") })
					w.MustLogin(c)
					if _, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
						t.Error(err)
					}
					for _, r := range line.Requests(0) {
						if !slices.Contains([]string{"mcp.lab.test", "as.lab.test"}, r.Host) {
							t.Errorf("sent to %s", r.Host)
						}
					}
				})
			})
		}
	}
}

// Nor are they used by a login that goes on with stored metadata, in a later step or without a user,
// and by its logout.
func TestPrivateAddressesInStoredMetadata(t *testing.T) {
	for name, login := range map[string]func(*testing.T, *testenv.Env, func() *handstamp.Client){
		"a later step": func(t *testing.T, w *testenv.Env, session func() *handstamp.Client) {
			step, err := session().BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
			if err != nil {
				t.Fatal(err)
			}
			response, err := w.Consent(t.Context(), step.Request)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := session().CompleteLogin(t.Context(), step.Suspended, response); err != nil {
				t.Fatal(err)
			}
		},
		"the next login without a user": func(_ *testing.T, w *testenv.Env, session func() *handstamp.Client) {
			w.Lab.RegisterClient(lab.ConfiguredClient{ID: "machine", Secret: "s"})
			for range 2 {
				c := session()
				c.Grant, c.Scopes = handstamp.ClientCredentials{}, nil
				c.Registration = &handstamp.Registration{ClientID: "machine", ClientSecret: "s"}
				w.MustCall(c)
				w.Expire()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, lab.Habits{
				OpenID: true, Grants: []string{lab.GrantClientCredentials},
			}, func(t *testing.T, w *testenv.Env) {
				line := testenv.NewRecorder(w.Transport())
				line.OnJSON(testenv.AtServer, func(document map[string]any) {
					document["userinfo_endpoint"], document["revocation_endpoint"] = "https://10.0.0.1/x", "https://10.0.0.1/x"
				})
				line.OnJSON(testenv.AtToken, func(document map[string]any) { delete(document, "id_token") })
				session := func() *handstamp.Client {
					c := steps(w)
					c.BaseTransport, c.AuthTransport, c.Scopes = line, line, []string{"openid"}
					return c
				}
				login(t, w, session)
				if _, err := session().Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
					t.Error(err)
				}
				for _, r := range line.Requests(0) {
					if !slices.Contains([]string{"mcp.lab.test", "as.lab.test"}, r.Host) {
						t.Errorf("sent to %s", r.Host)
					}
				}
			})
		})
	}
}
