package interop

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// zitadelClient is one of the example's clients with more grants, and with a key if it has one.
type zitadelClient struct {
	op.Client
	key signer
}

func (c zitadelClient) AuthMethod() oidc.AuthMethod {
	if c.key.key == nil {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodPrivateKeyJWT
}

// ApplicationType makes the client with a key a confidential one.
func (c zitadelClient) ApplicationType() op.ApplicationType {
	if c.key.key == nil {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

func (c zitadelClient) DevMode() bool { return true } // with redirect URIs without TLS

func (c zitadelClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeDeviceCode,
		oidc.GrantTypeTokenExchange, oidc.GrantTypeBearer}
}

// zitadelKeys is the example's storage, with keys.
type zitadelKeys struct {
	*zitadelStorage
	keys  map[string]signer // by client
	users storage.UserStore
}

// CompleteDeviceAuthorization gets a user's name from the example's page for devices, where
// all other pages give an ID.
func (z zitadelKeys) CompleteDeviceAuthorization(ctx context.Context, userCode, name string) error {
	return z.zitadelStorage.CompleteDeviceAuthorization(ctx, userCode, z.users.GetUserByUsername(name).ID)
}

func (z zitadelKeys) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := z.zitadelStorage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return zitadelClient{client, z.keys[id]}, nil
}

func (z zitadelKeys) GetKeyByIDAndClientID(_ context.Context, keyID, clientID string) (*jose.JSONWebKey, error) {
	key, ok := z.keys[clientID]
	if !ok || key.thumbprint() != keyID {
		return nil, errors.New("key not found")
	}
	return &jose.JSONWebKey{KeyID: keyID, Use: "sig", Key: key.key.Public()}, nil
}

// JWTProfileTokenType has machines get JWTs: the example's userinfo endpoint knows users only.
func (z zitadelKeys) JWTProfileTokenType(context.Context, op.TokenRequest) (op.AccessTokenType, error) {
	return op.AccessTokenTypeJWT, nil
}

// CreateAccessAndRefreshTokens tells the example whose login on another device it is, which it
// knows of a browser's alone.
func (z zitadelKeys) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (
	id, refresh string, end time.Time, err error) {
	if device, ok := r.(*op.DeviceAuthorizationState); ok {
		r = &storage.AuthRequest{ApplicationID: device.ClientID, UserID: device.Subject, Scopes: device.Scopes}
	}
	return z.zitadelStorage.CreateAccessAndRefreshTokens(ctx, r, current)
}

// CreateAccessToken makes one that lasts as long as the test says.
func (z zitadelKeys) CreateAccessToken(ctx context.Context, r op.TokenRequest) (id string, end time.Time, err error) {
	id, _, err = z.zitadelStorage.CreateAccessToken(ctx, r)
	z.set(func() { end = time.Now().Add(z.lifetime) })
	return id, end, err
}

// AuthorizeClientIDSecret knows one secret: who exchanges tokens here can have no key.
func (z zitadelKeys) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != "exchanger" || secret != exchangerSecret {
		return errors.New("wrong secret")
	}
	return nil
}

const exchangerSecret = "the-secret-of-the-exchanger"

// startZitadelKeys starts the example of zitadel/oidc with a public client "public" and with
// "keyed", which has this key.
func startZitadelKeys(t *testing.T, key signer) *rawServer {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	issuer := "http://" + server.Listener.Addr().String()
	server.Config.Handler, _ = zitadelWithKeys(issuer, key)
	server.Start()
	t.Cleanup(server.Close)
	return &rawServer{t: t, http: &http.Client{}, issuer: issuer, mcp: issuer + "/userinfo",
		wellKnown: "/.well-known/openid-configuration",
		account:   account{username: "test-user@127.0.0.1", password: "verysecure"}}
}

// zitadelWithKeys returns the example for an issuer.
func zitadelWithKeys(issuer string, key signer, redirects ...string) (http.Handler, *zitadelStorage) {
	clients := map[string]*storage.Client{}
	for _, id := range []string{"public", "keyed", "exchanger"} {
		clients[id] = storage.NativeClient(id, append(redirects, redirectURI, registeredURI)...)
	}
	users := storage.NewUserStore(issuer)
	z := zitadelKeys{&zitadelStorage{
		Storage:  storage.NewStorageWithClients(users, clients),
		lifetime: time.Hour, ends: make(map[string]time.Time),
	}, map[string]signer{"keyed": key}, users}
	return exampleop.SetupServer(issuer, z, slog.New(slog.DiscardHandler), false), z.zitadelStorage
}

// zitadelKeyed starts the example behind the counting proxy, and gives the client a key.
func zitadelKeyed(t *testing.T, alg string) *authServer {
	t.Helper()
	s, connect := newAuthServer(t)
	by := newSigner(t, alg)
	key, err := clientkey.New(by.key, clientkey.Options{ID: by.thumbprint()})
	if err != nil {
		t.Fatal(err)
	}
	redirect := fmt.Sprintf("http://127.0.0.1:%d/callback", proctest.FreePort(t)) // of a confidential client: as it is
	handler, z := zitadelWithKeys(s.issuer, by, redirect)
	behind := httptest.NewServer(handler)
	t.Cleanup(behind.Close)
	connect(behind.URL)
	s.scopes, s.token, s.method = []string{"openid"}, "/oauth/token", "private_key_jwt"
	s.username, s.password = "test-user@127.0.0.1", "verysecure"
	s.registration = &handstamp.Registration{ClientID: "keyed", TokenEndpointAuthMethod: s.method,
		RedirectURIs: []string{redirect}}
	s.verify = userinfo(behind.URL + "/userinfo")
	s.lifetime = func(d time.Duration) { z.set(func() { z.lifetime = d }) }
	s.configure = func(c *handstamp.Client) { c.Key = key }
	return s
}

// TestPrivateKeyJWTAtZitadelThroughTheLibrary lives the life of a login at a second server that
// knows clients by their keys. Its metadata lists RS256 alone.
func TestPrivateKeyJWTAtZitadelThroughTheLibrary(t *testing.T) {
	t.Parallel()
	newLibrary(newScene(t, func(t *testing.T, _ string) *authServer { return zitadelKeyed(t, "RS256") })).live()
}

// userinfo presents an access token at the userinfo endpoint.
func (r *rawServer) userinfo(token string) response {
	r.t.Helper()
	return r.do(http.MethodGet, r.endpoint("userinfo_endpoint"), "", "", bearer(token))
}

// TestPrivateKeyJWTAtZitadel is what zitadel/oidc makes of private_key_jwt.
func TestPrivateKeyJWTAtZitadel(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"RS256", "ES256"} {
		key := newSigner(t, alg)
		r := startZitadelKeys(t, key)
		token := r.endpoint("token_endpoint")
		a := r.authorization("keyed")
		a.request.Set("scope", "openid offline_access")
		form := r.exchange(a, r.walk(a.request).Get("code"), nil)
		form.Del("client_id")
		send := func(s signer, audience any, differ map[string]any) response {
			return r.post(token, merge(form, asserting(s.assertion("keyed", audience, differ))), nil)
		}
		// Whatever is wrong with an assertion is invalid_grant, which is what a refresh token
		// that has ended is called, too.
		send(newSigner(t, alg), r.issuer, nil).want(t, "another key", 400, "invalid_grant")
		send(key, token, nil).want(t, "audience: the token endpoint", 400, "invalid_grant")
		for what, differ := range map[string]map[string]any{
			"no iat":                 {"iat": 0},
			"issued in five minutes": {"iat": time.Now().Add(5 * time.Minute).Unix()},
			"issued two hours ago":   {"iat": time.Now().Add(-2 * time.Hour).Unix()},
			"expired":                {"exp": time.Now().Add(-time.Minute).Unix()},
		} {
			send(key, r.issuer, differ).want(t, what, 400, "invalid_grant")
		}
		r.post(token, merge(form, url.Values{"client_id": {"keyed"}}), nil).want(t, "no assertion", 401, "invalid_client")
		granted := send(key, []string{r.issuer}, map[string]any{"typ": "client-authentication+jwt"}).
			must(t, "code, audience: a list with the issuer", http.StatusOK)
		r.userinfo(granted.text("access_token")).must(t, "userinfo", http.StatusOK)
		refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {granted.text("refresh_token")}}
		slow := key.assertion("keyed", r.issuer, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})
		r.post(token, merge(refresh, asserting(slow)), nil).want(t, "refresh, a slow clock", 400, "invalid_grant")
		r.post(token, merge(refresh, asserting(key.assertion("keyed", r.issuer, nil))), nil).
			must(t, "refresh, audience: the issuer", http.StatusOK)
	}
}

// TestDeviceFlowAtZitadel is the device flow (RFC 8628), for a public client and for one with a key.
func TestDeviceFlowAtZitadel(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "ES256")
	r := startZitadelKeys(t, key)
	token := r.endpoint("token_endpoint")
	for client, credentials := range map[string]func() url.Values{
		"public": func() url.Values { return url.Values{"client_id": {"public"}} },
		"keyed":  func() url.Values { return asserting(key.assertion("keyed", r.issuer, nil)) },
	} {
		for _, link := range []bool{false, true} {
			started, poll := r.device(merge(credentials(), url.Values{"scope": {"openid offline_access"}}))
			if got := started.body["interval"]; got != 5.0 {
				t.Errorf("%s: interval %v, want 5", client, got)
			}
			send := func() response { return r.post(token, merge(poll, credentials()), nil) }
			send().want(t, client+", before the user", 400, "authorization_pending")
			r.approve(r.user(), started, link)
			granted := send().must(t, client+", after the user", http.StatusOK)
			r.userinfo(granted.text("access_token")).must(t, client+", userinfo", http.StatusOK)
		}
		_, poll := r.device(merge(credentials(), url.Values{"scope": {"openid"}}))
		poll.Set("device_code", "another")
		r.post(token, merge(poll, credentials()), nil).want(t, client+", another code", 400, "access_denied")
	}
	_, poll := r.device(merge(asserting(key.assertion("keyed", r.issuer, nil)), url.Values{"scope": {"openid"}}))
	other := asserting(newSigner(t, "ES256").assertion("keyed", r.issuer, nil))
	r.post(token, merge(poll, other), nil).want(t, "another key", 400, "unauthorized_client")
}

// TestJWTBearerAtZitadel is a token for an assertion (RFC 7523, section 2.1), without a user.
func TestJWTBearerAtZitadel(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "RS256")
	r := startZitadelKeys(t, key)
	send := func(s signer, audience string) response {
		return r.post(r.endpoint("token_endpoint"), url.Values{"grant_type": {assertionGrant},
			"assertion": {s.assertion("keyed", audience, nil)}, "scope": {"openid"}}, nil)
	}
	granted := send(key, r.issuer).must(t, "the key", http.StatusOK)
	if granted.text("access_token") == "" || granted.text("refresh_token") != "" {
		t.Errorf("granted: %v", granted.body)
	}
	send(newSigner(t, "RS256"), r.issuer).want(t, "another key", 400, "invalid_grant")
	send(key, r.endpoint("token_endpoint")).want(t, "audience: the token endpoint", 400, "invalid_grant")
}

// TestTokenExchangeAtZitadel is another token for a user's (RFC 8693).
func TestTokenExchangeAtZitadel(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "ES256")
	r := startZitadelKeys(t, key)
	token := r.endpoint("token_endpoint")
	credentials := func() url.Values { return asserting(key.assertion("keyed", r.issuer, nil)) }
	started, poll := r.device(merge(credentials(), url.Values{"scope": {"openid"}}))
	r.approve(r.user(), started, true)
	subject := r.post(token, merge(poll, credentials()), nil).must(t, "device", http.StatusOK)
	form := url.Values{"grant_type": {exchangeGrant}, "subject_token": {subject.text("access_token")},
		"subject_token_type": {accessTokenType}, "requested_token_type": {accessTokenType}, "scope": {"openid"}}
	r.post(token, merge(form, credentials()), nil).want(t, "with a key", 401, "invalid_client")
	basic := map[string]string{"Authorization": "Basic " +
		base64.StdEncoding.EncodeToString([]byte("exchanger:"+exchangerSecret))}
	granted := r.post(token, form, basic).must(t, "exchange", http.StatusOK)
	if got := granted.text("issued_token_type"); got != accessTokenType {
		t.Errorf("issued_token_type: %q", got)
	}
	r.userinfo(granted.text("access_token")).must(t, "userinfo", http.StatusOK)
	form.Set("subject_token", "another")
	r.post(token, form, basic).want(t, "another subject token", 400, "invalid_request")
}

const (
	assertionGrant  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	exchangeGrant   = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
)
