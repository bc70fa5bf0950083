package lab_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// TestEnforcement sends every way of authentication to every kind of client.
func TestEnforcement(t *testing.T) {
	const id, secret = "a client", `s%+ :/&=é`
	ways := map[string]func(r *http.Request, form url.Values){
		"none":       func(_ *http.Request, form url.Values) { form.Set("client_id", id) },
		"post":       func(_ *http.Request, form url.Values) { form.Set("client_id", id); form.Set("client_secret", secret) },
		"post wrong": func(_ *http.Request, form url.Values) { form.Set("client_id", id); form.Set("client_secret", "x") },
		"post empty": func(_ *http.Request, form url.Values) { form.Set("client_id", id); form.Set("client_secret", "") },
		"basic":      func(r *http.Request, _ url.Values) { auth(r, basic(url.QueryEscape(id), url.QueryEscape(secret))) },
		"basic %20":  func(r *http.Request, _ url.Values) { auth(r, basic("a%20client", "s%25%2b%20%3a%2F%26%3D%c3%a9")) },
		"basic with id": func(r *http.Request, form url.Values) {
			auth(r, basic("a+client", url.QueryEscape(secret)))
			form.Set("client_id", id)
		},
		"basic other id": func(r *http.Request, form url.Values) {
			auth(r, basic("a+client", url.QueryEscape(secret)))
			form.Set("client_id", "b")
		},
		"basic raw": func(r *http.Request, _ url.Values) { auth(r, basic(id, secret)) },
		// Decoded carelessly, this is the secret.
		"basic half":  func(r *http.Request, _ url.Values) { auth(r, basic("a+client", "s%25%2B+:/&=é")) },
		"basic wrong": func(r *http.Request, _ url.Values) { auth(r, basic("a+client", "x")) },
		"both": func(r *http.Request, form url.Values) {
			auth(r, basic("a+client", url.QueryEscape(secret)))
			form.Set("client_id", id)
			form.Set("client_secret", secret)
		},
		"bearer":  func(r *http.Request, form url.Values) { auth(r, "Bearer x"); form.Set("client_id", id) },
		"nothing": func(*http.Request, url.Values) {},
		"unknown": func(_ *http.Request, form url.Values) { form.Set("client_id", "b") },
	}
	accepted := map[string][]string{
		lab.MethodNone:  {"none"},
		lab.MethodPost:  {"post"},
		lab.MethodBasic: {"basic", "basic %20", "basic with id"},
	}
	for method, good := range accepted {
		c := start(t, lab.Habits{})
		client := lab.ConfiguredClient{ID: id, Method: method}
		if method != lab.MethodNone {
			client.Secret = secret
		}
		c.server.RegisterClient(client)
		for name, way := range ways {
			t.Run(method+"/"+name, func(t *testing.T) {
				c.t = t
				r := c.request(http.MethodPost, c.endpoint("/token"), "")
				form := url.Values{
					"grant_type":    {"refresh_token"},
					"refresh_token": {c.server.Issue(id, "", "").Refresh},
				}
				way(r, form)
				header := r.Header
				r = c.request(http.MethodPost, c.endpoint("/token"), form.Encode())
				r.Header = header
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				response := c.do(r)
				status, code := http.StatusUnauthorized, "invalid_client"
				switch {
				case slices.Contains(good, name):
					status, code = http.StatusOK, ""
				case name == "both":
					status, code = http.StatusBadRequest, "invalid_request"
				}
				response.is(t, status, code)
				challenged := strings.HasPrefix(response.header.Get("WWW-Authenticate"), "Basic")
				if want := status == http.StatusUnauthorized && header.Get("Authorization") != ""; challenged != want {
					t.Errorf("Basic challenge: %v, want %v", challenged, want)
				}
			})
		}
	}
}

func auth(r *http.Request, value string) { r.Header.Set("Authorization", value) }

// TestBadClientShapes shows every way to say invalid_client.
func TestBadClientShapes(t *testing.T) {
	for _, test := range []struct {
		habits lab.Habits
		status int
		body   string
	}{
		{lab.Habits{}, 401, `"error":"invalid_client"`},
		{lab.Habits{InvalidClientStatus: 400}, 400, `"error":"invalid_client"`},
		{lab.Habits{InvalidClientStatus: 403, InvalidClientShape: lab.ShapeEmpty}, 403, ""},
		{lab.Habits{InvalidClientStatus: 422, InvalidClientShape: lab.ShapeJSON}, 422, `"message":"client authentication`},
		{lab.Habits{ErrorsIn200: true}, 200, `"error":"invalid_client"`},
	} {
		c := start(t, test.habits)
		c.id = "unknown"
		response := c.refresh("x", nil)
		if response.status != test.status || !strings.Contains(response.raw, test.body) || (test.body == "") != (response.raw == "") {
			t.Errorf("%+v: %d %s", test.habits, response.status, response.raw)
		}
		if got := c.server.Requests()[0].Error; got != "invalid_client" {
			t.Errorf("noted as %q", got)
		}
	}
}

// TestUsedOnBadClient uses the grant of a client that got its own
// authentication wrong.
func TestUsedOnBadClient(t *testing.T) {
	for _, uses := range []bool{false, true} {
		c := start(t, lab.Habits{
			RegisterMethod: lab.MethodPost, CodeUsedOnBadClient: uses, RefreshUsedOnBadClient: uses,
			Rotation: lab.RotateGrace, Grace: time.Hour,
		})
		c.register(nil)
		status, code := http.StatusOK, ""
		if uses {
			status, code = http.StatusBadRequest, "invalid_grant"
		}
		granted := c.authorize(nil).Get("code")
		c.method = lab.MethodBasic
		c.do(c.tokenRequest(c.codeForm(granted, nil))).is(t, http.StatusUnauthorized, "invalid_client")
		c.method = lab.MethodPost
		c.do(c.tokenRequest(c.codeForm(granted, nil))).is(t, status, code)

		token := c.login(nil).text("refresh_token")
		c.method = lab.MethodNone
		c.refresh(token, nil).is(t, http.StatusUnauthorized, "invalid_client")
		c.method = lab.MethodPost
		c.refresh(token, nil).is(t, status, code)
	}
}

// TestRejectRepeatedID rejects Basic with a client_id in the body.
func TestRejectRepeatedID(t *testing.T) {
	c := start(t, lab.Habits{RegisterMethod: lab.MethodBasic, RejectRepeatedID: true})
	c.register(nil)
	token := c.login(nil).text("refresh_token")
	c.refresh(token, url.Values{"client_id": {c.id}}).is(t, http.StatusBadRequest, "invalid_request")
	c.refresh(token, nil).is(t, http.StatusOK, "")
}

// TestEnforceMethod takes another method than the one that was registered.
func TestEnforceMethod(t *testing.T) {
	secret := true
	for _, test := range []struct {
		name    string
		habits  lab.Habits
		accepts []string
	}{
		{
			"says none, gives a secret, demands it",
			lab.Habits{RegisterMethod: lab.MethodNone, RegisterSecret: &secret, EnforceMethod: lab.MethodPost},
			[]string{lab.MethodPost},
		},
		{"lists basic, takes post", lab.Habits{
			Methods: []string{lab.MethodBasic}, RegisterMethod: lab.MethodBasic, EnforceMethod: lab.MethodPost,
		}, []string{lab.MethodPost}},
		{"any", lab.Habits{RegisterMethod: lab.MethodPost, EnforceMethod: lab.MethodAny}, []string{lab.MethodPost, lab.MethodBasic}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t, test.habits)
			c.register(nil)
			if c.secret == "" || c.method != test.habits.RegisterMethod {
				t.Fatalf("registered %q", c.method)
			}
			for _, method := range []string{lab.MethodNone, lab.MethodPost, lab.MethodBasic} {
				c.method = method
				response := c.refresh(c.server.Issue(c.id, "", "").Refresh, nil)
				if got := response.status == http.StatusOK; got != slices.Contains(test.accepts, method) {
					t.Errorf("%s: %d", method, response.status)
				}
			}
		})
	}
}

// TestNoSecretToKnow does not take an empty secret for the one that a client
// lacks.
func TestNoSecretToKnow(t *testing.T) {
	no := false
	c := start(t, lab.Habits{RegisterMethod: lab.MethodPost, RegisterSecret: &no})
	c.register(nil)
	c.refresh(c.server.Issue(c.id, "", "").Refresh, nil).is(t, http.StatusUnauthorized, "invalid_client")
}

// TestSecretLifetime ends a client's secret.
func TestSecretLifetime(t *testing.T) {
	c := start(t, lab.Habits{RegisterMethod: lab.MethodPost, SecretLifetime: time.Hour})
	registration := c.register(nil)
	if registration.document["client_secret_expires_at"].(float64) < float64(time.Now().Unix()) {
		t.Error("the secret is over already")
	}
	token := c.login(nil).text("refresh_token")
	c.server.Advance(time.Hour)
	c.refresh(token, nil).is(t, http.StatusUnauthorized, "invalid_client")
}
