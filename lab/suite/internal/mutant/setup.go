package mutant

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// transport presents the certificate that the administrator has given, and trusts the authority.
func (c *Client) transport() (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := c.Setup["ca_file"]; file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(raw)
	}
	if file := c.Setup["certificate_file"]; file != "" {
		pair, err := tls.LoadX509KeyPair(file, c.Setup["certificate_key_file"])
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Transport{Proxy: nil, TLSClientConfig: config}, nil
}

// given reads a file that the administrator has given.
func (c *Client) given(name string) (string, error) {
	raw, err := os.ReadFile(c.Setup[name])
	return strings.TrimSpace(string(raw)), err
}

// configured is the client that the administrator has registered.
func (c *Client) configured() (r registration, err error) {
	r = registration{ID: c.Setup["client_id"], Method: c.Setup["method"]}
	if c.Setup["client_secret_file"] != "" {
		r.Secret, err = c.given("client_secret_file")
	}
	return r, err
}

// interactive reports whether the user signs in with a browser at the server.
func (c *Client) interactive() bool {
	return c.Setup == nil || c.Setup["way"] == "authorization_code"
}

// obtain gets a token in another way than with the user's browser.
func (c *Client) obtain(ctx context.Context, st *state, sm *serverMetadata) error {
	if c.Setup["way"] == "device_code" {
		return c.device(ctx, st, sm)
	}
	form, err := c.grant(ctx, st)
	if err != nil {
		return err
	}
	form["resource"] = st.Resource
	token, err := c.token(ctx, st, st.Client.Method, form)
	if err == nil {
		st.take(token, None)
	}
	return err
}

// grant returns the parameters of the grant.
func (c *Client) grant(ctx context.Context, st *state) (form map[string]string, err error) {
	switch c.Setup["way"] {
	case "client_credentials":
		return map[string]string{"grant_type": "client_credentials"}, nil
	case "token_exchange":
		form = map[string]string{
			"grant_type":         "urn:ietf:params:oauth:grant-type:token-exchange",
			"subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
		}
		form["subject_token"], err = c.given("token_file")
		return form, err
	}
	form = map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
	if c.Setup["way"] == "enterprise" {
		form["assertion"], err = c.identityAssertion(ctx, st)
		return form, err
	}
	form["assertion"] = st.Assertion
	if st.Assertion == "" || c.Defect != SourceReadOnce {
		form["assertion"], err = c.given("token_file")
		st.Assertion = form["assertion"]
	}
	return form, err
}

// identityAssertion signs the user in at the company, unless that is done, and returns an ID-JAG.
func (c *Client) identityAssertion(ctx context.Context, st *state) (string, error) {
	if st.Company == nil || c.Defect == CompanyForgotten {
		sm, err := c.server(ctx, c.Setup["company_issuer"])
		if err != nil {
			return "", err
		}
		secret, err := c.given("company_client_secret_file")
		if err != nil {
			return "", err
		}
		company := &state{Issuer: sm.Issuer, TokenEndpoint: sm.Token, OmitResource: true}
		company.Client = registration{
			ID: c.Setup["company_client_id"], Secret: secret, Method: "client_secret_basic",
		}
		if _, err := c.authorize(ctx, company, sm, "openid"); err != nil {
			return "", err
		}
		st.Company = company
	}
	token, err := c.token(ctx, st.Company, st.Company.Client.Method, map[string]string{
		"grant_type":           "urn:ietf:params:oauth:grant-type:token-exchange",
		"requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
		"subject_token":        st.Company.IDToken,
		"subject_token_type":   "urn:ietf:params:oauth:token-type:id_token",
		"audience":             st.Issuer, "resource": st.Resource,
	})
	return token.access, err
}

// device waits until the user has entered the code on another device (RFC 8628).
func (c *Client) device(ctx context.Context, st *state, sm *serverMetadata) error {
	form := url.Values{"client_id": {st.Client.ID}, "resource": {st.Resource}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, sm.Device,
		strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := read(response)
	if err != nil {
		return err
	}
	var shown struct {
		Code     string `json:"device_code"`
		Interval int
	}
	if json.Unmarshal(raw, &shown) != nil || shown.Code == "" {
		return errors.New("the device is not accepted")
	}
	return c.poll(ctx, st, shown.Code, time.Duration(max(shown.Interval, 1))*time.Second)
}

// poll requests the token of a device until the user has decided.
func (c *Client) poll(ctx context.Context, st *state, code string, interval time.Duration) error {
	for {
		pause := interval
		if c.Defect == PolledTooFast {
			pause = interval / 100
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
		token, err := c.token(ctx, st, st.Client.Method, map[string]string{
			"grant_type":  "urn:ietf:params:oauth:grant-type:device_code",
			"device_code": code, "resource": st.Resource,
		})
		rejected, ok := errtype.As[*rejectedError](err)
		switch {
		case err == nil:
			st.take(token, None)
			return nil
		case ok && rejected.code == "slow_down":
			interval += 5 * time.Second
		case !ok || rejected.code != "authorization_pending":
			return err
		}
	}
}

// assertion authenticates the client with its key (RFC 7523 section 2.2).
func (c *Client) assertion(st *state) (string, error) {
	text, err := c.given("key_file")
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return "", errors.New("the key file is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return "", errors.New("the key is of another kind")
	}
	now := time.Now()
	claims := map[string]any{
		"iss": st.Client.ID, "sub": st.Client.ID, "aud": st.Issuer, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	if c.Defect == AssertionRepeated {
		claims["jti"] = "1"
	}
	if c.Defect == AudienceOfEndpoint {
		claims["aud"] = st.TokenEndpoint
	}
	return sign(key, map[string]any{"alg": "ES256", "typ": "JWT"}, claims)
}
