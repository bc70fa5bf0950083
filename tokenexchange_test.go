package handstamp_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// exchanging is an authorization server that takes token exchange: it looks at the request and lets
// the lab grant what the subject token is good for.
type exchanging struct {
	reject string // an error code
	forms  *[]url.Values
}

func (e exchanging) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost {
		return http.DefaultTransport.RoundTrip(req)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	*e.forms = append(*e.forms, form)
	if e.reject != "" {
		return (&rejecting{code: e.reject}).RoundTrip(req)
	}
	inner := url.Values{"grant_type": {lab.GrantJWTBearer}, "assertion": form["subject_token"], "resource": form["resource"]}
	next := req.Clone(req.Context())
	next.Body, next.ContentLength = io.NopCloser(strings.NewReader(inner.Encode())), int64(len(inner.Encode()))
	resp, err := http.DefaultTransport.RoundTrip(next)
	if err != nil {
		return nil, err
	}
	return replaceMember(resp, "issued_token_type", `"`+handstamp.TokenTypeAccessToken+`"`)
}

// A service exchanges the token of its caller, for itself or on behalf of an actor.
func TestTokenExchange(t *testing.T) {
	p := newPlatform(t, lab.Habits{})
	var forms []url.Values
	subject := p.token(p.Lab.Issuer(), time.Now())
	session := func(g handstamp.TokenExchange) *handstamp.Client {
		c := p.Session()
		c.Grant, c.LoginPolicy, c.AuthTransport = g, handstamp.LoginNever, exchanging{forms: &forms}
		c.AuthorizationServer = &handstamp.AuthorizationServer{Issuer: p.Lab.Issuer()}
		return c
	}
	p.MustCall(session(handstamp.TokenExchange{SubjectToken: fixed(subject)}))
	p.MustCall(session(handstamp.TokenExchange{SubjectToken: fixed(subject)}))
	p.Expire()
	p.MustCall(session(handstamp.TokenExchange{
		SubjectToken: fixed(subject), SubjectTokenType: handstamp.TokenTypeJWT,
		ActorToken: fixed("actor"), RequestedTokenType: handstamp.TokenTypeAccessToken, Audience: "mcp",
	}))
	if len(forms) != 2 {
		t.Fatalf("%d token requests, want 2", len(forms))
	}
	for i, want := range []map[string]string{
		{"subject_token_type": handstamp.TokenTypeAccessToken, "actor_token": "", "requested_token_type": "", "audience": "", "client_id": ""},
		{
			"subject_token_type": handstamp.TokenTypeJWT, "actor_token": "actor", "actor_token_type": handstamp.TokenTypeAccessToken,
			"requested_token_type": handstamp.TokenTypeAccessToken, "audience": "mcp",
		},
	} {
		if forms[i].Get("subject_token") != subject || forms[i].Get("resource") == "" ||
			forms[i].Get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" {
			t.Errorf("request %d: %v", i, forms[i])
		}
		for name, value := range want {
			if got := forms[i].Get(name); got != value {
				t.Errorf("request %d: %s is %q, want %q", i, name, got, value)
			}
		}
	}
}

// A token that is rejected is sent once.
func TestTokenExchangeRejected(t *testing.T) {
	for _, code := range []string{"invalid_request", "invalid_target", "invalid_client", "invalid_grant", "invalid_scope"} {
		p := newPlatform(t, lab.Habits{})
		var forms []url.Values
		c := p.Session()
		c.Grant = handstamp.TokenExchange{SubjectToken: fixed("opaque")}
		c.AuthTransport = exchanging{reject: code, forms: &forms}
		testenv.WantKind(t, p.Call(c), handstamp.ErrInvalidConfig) // the server alone names where it goes
		if len(forms) != 0 {
			t.Errorf("%s: %d token requests", code, len(forms))
		}
		c = p.Session()
		c.Grant = handstamp.TokenExchange{SubjectToken: fixed("opaque")}
		c.AuthTransport = exchanging{reject: code, forms: &forms}
		c.AuthorizationServer = &handstamp.AuthorizationServer{Issuer: p.Lab.Issuer()}
		err := p.Call(c)
		testenv.WantKind(t, err, handstamp.ErrDenied)
		if len(forms) != 1 || err == nil || strings.Contains(err.Error(), "opaque") {
			t.Errorf("%s: %d requests, %v", code, len(forms), err)
		}
		p.WantTabs(0)
	}
}
