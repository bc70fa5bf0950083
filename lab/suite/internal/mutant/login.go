package mutant

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/errtype"
)

// maxAuthorizations bounds the authorization requests of one login.
const maxAuthorizations = 4

// login logs the user in. The caller holds the lock.
func (c *Client) login(ctx context.Context, st *state, rejected *challenge) (*state, error) {
	rm, sm, err := c.discover(ctx, rejected.metadata)
	if err != nil {
		return nil, err
	}
	next, err := c.prepare(st, rm, sm, rejected)
	if err != nil {
		return nil, err
	}
	if !c.interactive() {
		err := c.obtain(ctx, &next, sm)
		if err == nil || c.Defect != BrowserAnyway {
			if err == nil {
				err = c.save(&next)
			}
			return &next, err
		}
	}
	wanted := c.wantedScope(st, &next, rm, rejected)
	for range maxAuthorizations {
		again, err := c.authorize(ctx, &next, sm, c.withOffline(&next, sm, wanted))
		if err != nil {
			return nil, err
		}
		if !again {
			return &next, c.save(&next)
		}
	}
	return nil, errors.New("the authorization server rejects each login")
}

// prepare returns the state to log in with.
func (c *Client) prepare(st *state, rm *resourceMetadata, sm *serverMetadata,
	rejected *challenge) (next state, err error) {
	next = *st
	if next.Issuer != sm.Issuer && c.Defect != SecretsToNewIssuer {
		next = state{}
	}
	next.Issuer, next.TokenEndpoint, next.Listed = sm.Issuer, sm.Token, sm.Methods
	if c.Setup["certificate_file"] != "" && sm.Aliases.Token != "" && c.Defect != AliasesIgnored {
		next.TokenEndpoint = sm.Aliases.Token
	}
	if next.Resource = rm.Resource; c.Defect == SlashAdded {
		if u, err := url.Parse(rm.Resource); err == nil && u.Path == "" {
			next.Resource += "/"
		}
	}
	if next.Key == "" && c.wantsProof(rm, sm, rejected) {
		if next.Key, err = newKey(); err != nil {
			return next, err
		}
	}
	if rejected.acr != "" && c.Defect != ACRIgnored {
		next.ACR = rejected.acr
	}
	if c.Setup != nil {
		if next.Client, err = c.configured(); err != nil {
			return next, err
		}
	}
	return next, nil
}

// wantedScope returns the scope to request.
func (c *Client) wantedScope(st, next *state, rm *resourceMetadata, rejected *challenge) string {
	wanted := rejected.scope
	if wanted == "" {
		wanted = strings.Join(rm.Scopes, " ")
	}
	if c.Defect != UnionForgotten && containsAll(st.Granted, st.Requested) &&
		next.Issuer == st.Issuer {
		wanted = union(st.Requested, wanted)
	}
	return wanted
}

// withOffline returns the scope with offline access, if the server lists it and gives it.
func (c *Client) withOffline(st *state, sm *serverMetadata, scope string) string {
	const offline = "offline_access"
	switch {
	case st.NoOffline:
		return strings.Join(slices.DeleteFunc(strings.Fields(scope), func(s string) bool { return s == offline }), " ")
	case slices.Contains(sm.Scopes, offline) && c.Defect != OfflineNotRequested:
		return union(scope, offline)
	}
	return scope
}

// authorize runs one authorization and the code exchange. It reports whether to run another one,
// after a change to st.
func (c *Client) authorize(ctx context.Context, st *state, sm *serverMetadata,
	scope string) (again bool, err error) {
	listener, redirect, err := c.listen(st)
	if err != nil {
		return false, err
	}
	defer listener.Close()
	registered := st.Client.ID == ""
	if registered {
		err := c.register(ctx, st, sm, redirect)
		if errors.Is(err, errAddressRejected) && !st.Localhost {
			st.Localhost = true
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	verifier, csrf := rand.Text()+rand.Text(), rand.Text()
	address, err := c.address(ctx, st, sm, st.authorization(sm, redirect, scope, verifier, csrf))
	if errors.Is(err, errClientUnknown) && !registered {
		st.forgetClient()
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if !registered && c.Defect != NoPreflight && c.Defect != BrowserAnyway && c.unknown(ctx, address) {
		st.forgetClient()
		return true, nil
	}
	c.Open(address)
	callback, err := c.await(ctx, listener, csrf)
	if err != nil {
		return false, err
	}
	if iss := callback.Get("iss"); c.Defect != IssIgnored && (iss != "" || sm.IssSent) &&
		iss != sm.Issuer {
		return false, errors.New("the response comes from another issuer")
	}
	if code := callback.Get("error"); code != "" {
		return st.adapt(code)
	}
	return st.afterExchange(c.exchange(ctx, st, callback.Get("code"), redirect, verifier, scope))
}

// afterExchange has another authorization follow where the code exchange shows that the server
// gives no offline access.
func (st *state) afterExchange(err error) (again bool, _ error) {
	rejected, ok := errtype.As[*rejectedError](err)
	if ok && rejected.code == "not_allowed" && !st.NoOffline {
		st.NoOffline = true
		return true, nil
	}
	return false, err
}

// adapt changes what the next authorization requests after an error response, and reports whether
// there is another one.
func (st *state) adapt(code string) (again bool, err error) {
	switch code {
	case "invalid_target":
		st.OmitResource = true
	case "invalid_scope":
		st.NoOffline = true
	default:
		return false, errors.New("the login is rejected: " + code)
	}
	return true, nil
}

// authorization returns the parameters of an authorization request.
func (st *state) authorization(sm *serverMetadata,
	redirect, scope, verifier, csrf string) url.Values {
	sum := sha256.Sum256([]byte(verifier))
	params := url.Values{
		"response_type": {"code"}, "client_id": {st.Client.ID}, "redirect_uri": {redirect}, "state": {csrf},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if !st.OmitResource {
		params.Set("resource", st.Resource)
	}
	if st.ACR != "" {
		params.Set("acr_values", st.ACR)
	}
	if scope != "" {
		params.Set("scope", scope)
	}
	if slices.Contains(sm.Scopes, "openid") && !slices.Contains(sm.Scopes, "offline_access") {
		params.Set("access_type", "offline")
		params.Set("prompt", "consent")
	}
	return params
}

// formIDMethod is Basic with the id in the form as well.
const formIDMethod = "client_secret_basic, id in the form"

// exchange redeems the code, with one method after the other where the
// right one is not known.
func (c *Client) exchange(ctx context.Context, st *state,
	code, redirect, verifier, scope string) error {
	form := map[string]string{"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
	if !st.OmitResource {
		form["resource"] = st.Resource
	}
	methods := []string{st.Client.Method}
	switch {
	case st.Client.FormID:
		methods = []string{formIDMethod}
	case st.Client.Method == "client_secret_basic" && c.Defect != BasicPreferred:
		methods = append(methods, formIDMethod)
	}
	if st.Client.Guess {
		for _, m := range []string{"client_secret_post", "client_secret_basic"} {
			if st.Client.Secret != "" && m != st.Client.Method {
				methods = append(methods, m)
			}
		}
	}
	if c.Defect == MethodGuessed {
		methods = []string{"client_secret_basic", "client_secret_post", "none"}
	}
	var err error
	for _, method := range methods {
		var token tokenResponse
		st.Client.FormID = method == formIDMethod
		if st.Client.FormID {
			method = "client_secret_basic"
		}
		if token, err = c.token(ctx, st, method, form); err == nil {
			st.Client.Method, st.Client.Guess = method, false
			st.Refresh, st.Requested, st.Granted = "", scope, scope
			st.take(token, None)
			return nil
		}
		if rejected, ok := errtype.As[*rejectedError](err); !ok || !rejected.client {
			return err
		}
	}
	return err
}

// listen listens where the client was registered for, if it can.
func (c *Client) listen(st *state) (net.Listener, string, error) {
	if u, err := url.Parse(st.Client.RedirectURI); err == nil && u.Host != "" &&
		c.Defect != PortChanged {
		listener, err := net.Listen("tcp", u.Host)
		if err == nil || c.Defect == PortInsisted {
			return listener, st.Client.RedirectURI, err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	address := listener.Addr().String()
	if st.Localhost {
		address = strings.Replace(address, "127.0.0.1", "localhost", 1)
	}
	return listener, "http://" + address + "/callback", nil
}

// unknown looks whether the authorization server knows the client.
func (c *Client) unknown(ctx context.Context, address string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	r.Header.Set("Sec-Purpose", "prefetch")
	response, err := c.http.Do(r)
	if err != nil {
		return false
	}
	response.Body.Close()
	switch response.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// await waits for the authorization response with this state.
func (c *Client) await(ctx context.Context, listener net.Listener,
	state string) (url.Values, error) {
	responses := make(chan url.Values, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if r.URL.Path != "/callback" || query.Get("state") != state && c.Defect != StateUnchecked {
			http.Error(w, "this is not the awaited response", http.StatusBadRequest)
			return
		}
		select {
		case responses <- query:
		default:
		}
		fmt.Fprintln(w, "done")
	})}
	go server.Serve(listener)
	defer server.Close()
	select {
	case params := <-responses:
		return params, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// errAddressRejected reports that the server registers no client with this redirect URI.
var errAddressRejected = errors.New("the redirect URI is rejected")

// register registers the client (RFC 7591) and keeps what the response contains.
func (c *Client) register(ctx context.Context, st *state, sm *serverMetadata,
	redirect string) error {
	if sm.Registration == "" {
		return errors.New("the authorization server has no registration endpoint")
	}
	grants := []string{"authorization_code", "refresh_token"}
	if c.Defect == OneGrantRegistered {
		grants = grants[:1]
	}
	raw, err := json.Marshal(map[string]any{
		"client_name": "mutant", "redirect_uris": []string{redirect}, "grant_types": grants,
		"response_types": []string{"code"}, "token_endpoint_auth_method": c.registrationMethod(sm),
	})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, sm.Registration,
		bytes.NewReader(raw))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err = read(response)
	if response.StatusCode == http.StatusBadRequest &&
		bytes.Contains(raw, []byte("invalid_redirect_uri")) {
		return errAddressRejected
	}
	var got registrationResponse
	if err != nil || response.StatusCode/100 != 2 || json.Unmarshal(raw, &got) != nil ||
		got.ID == "" {
		return fmt.Errorf("the client is not registered: status %d", response.StatusCode)
	}
	st.Client = got.client(sm, redirect)
	if got.Bound && st.Key == "" && c.Defect != BoundUnread {
		st.Key, err = newKey()
	}
	return err
}

// registrationMethod returns the authentication method to register for.
func (c *Client) registrationMethod(sm *serverMetadata) string {
	switch {
	case len(sm.Methods) == 0 || slices.Contains(sm.Methods, "none"):
		return "none"
	case c.Defect == BasicPreferred && slices.Contains(sm.Methods, "client_secret_basic"):
		return "client_secret_basic"
	}
	return sm.Methods[0]
}

// registrationResponse is that of RFC 7591 section 3.2.1, as far as it is needed.
type registrationResponse struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
	Method string `json:"token_endpoint_auth_method"`
	Ends   int64  `json:"client_secret_expires_at"`
	Bound  bool   `json:"dpop_bound_access_tokens"`
}

// client returns the client to keep.
func (r registrationResponse) client(sm *serverMetadata, redirect string) registration {
	client := registration{ID: r.ID, Secret: r.Secret, Method: r.Method, RedirectURI: redirect, Ends: r.Ends}
	switch {
	case r.Method == "" && r.Secret == "":
		client.Method = "none"
	case r.Method == "":
		client.Method, client.Guess = "client_secret_post", true
	default:
		client.Guess = r.Method == "none" && r.Secret != "" || len(sm.Methods) > 0 && !slices.Contains(sm.Methods, r.Method)
	}
	return client
}
