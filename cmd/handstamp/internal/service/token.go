package service

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// tokenBody is an access token.
type tokenBody struct {
	Server      string     `json:"server"`
	AccessToken string     `json:"access_token"`
	TokenType   string     `json:"token_type"`
	Scope       string     `json:"scope,omitempty"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"` // absent if unknown
	ExpiresIn   *int64     `json:"expires_in,omitempty"` // seconds
	Proof       *proofBody `json:"proof,omitempty"`
}

// proofBody is a proof of possession for one request (RFC 9449).
type proofBody struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	DPoP   string `json:"dpop"` // the header's value
}

// token is GET /v1/token.
func (s *service) token(ctx context.Context, r *request) (any, error) {
	proved, err := provedRequest(ctx, r)
	if err != nil {
		return nil, err
	}
	options, err := tokenOptions(r.query)
	if err != nil {
		return nil, err
	}
	client, err := s.client(ctx, r)
	if err != nil {
		return nil, err
	}
	rejected := r.query.Get("rejected")
	if key, err := store.NewKey(r.server(), s.Profile); err == nil && rejected != "" {
		client.StoreChanged(key.ID()) // by another replica, perhaps, which this one has not heard of
	}
	t, err := client.Token(ctx, r.server(), options)
	if err == nil && strings.EqualFold(rejected, fingerprint(t.Value)) {
		options.Rejected = t.Value
		t, err = client.Token(ctx, r.server(), options)
	}
	if err != nil {
		return nil, s.orNoLogin(ctx, err, client, r)
	}
	body := &tokenBody{Server: r.server(), AccessToken: t.Value.Reveal(),
		TokenType: cmp.Or(t.Type, "Bearer"), Scope: t.Scope}
	if !t.ExpiresAt.IsZero() {
		at, left := t.ExpiresAt.UTC().Truncate(time.Second), time.Until(t.ExpiresAt)
		body.ExpiresAt, body.ExpiresIn = &at, new(max(0, int64(left/time.Second)))
	}
	if strings.EqualFold(body.TokenType, "DPoP") {
		body.Proof, err = prove(t, proved, r.query.Get("nonce"))
	}
	return body, err
}

// tokenOptions reads what the token has to be like.
func tokenOptions(query url.Values) (o handstamp.TokenOptions, err error) {
	if text := query.Get("min_ttl"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return o, badRequest("min_ttl is a number of seconds")
		}
		o.MinTTL = time.Duration(seconds) * time.Second
	}
	rejected := query.Get("rejected")
	if digits, err := hex.DecodeString(rejected); err != nil || rejected != "" && len(digits) != fingerprintSize/2 {
		return o, badRequest("rejected is the first 16 hexadecimal digits of the token's SHA-256")
	}
	switch query.Get("refresh") {
	case "", "false":
	case "true":
		o.Refresh = rejected == "" // or else the one that was rejected alone
	default:
		return o, badRequest("refresh is true or false")
	}
	return o, nil
}

// fingerprintSize is how many hexadecimal digits of its SHA-256 name a token.
const fingerprintSize = 16

// fingerprint names a token: in a URL it would be in logs.
func fingerprint(token secret.String) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(token.Reveal())))[:fingerprintSize]
}

// provedRequest returns the request that a proof is wanted for; nil: none is.
func provedRequest(ctx context.Context, r *request) (*http.Request, error) {
	method := r.query.Get("method")
	if method == "" {
		if r.query.Has("url") || r.query.Has("nonce") {
			return nil, badRequest("url and nonce need method")
		}
		return nil, nil
	}
	target := cmp.Or(r.query.Get("url"), r.server())
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, badRequest("method and url are those of a request to the server")
	}
	if server, err := url.Parse(r.server()); err != nil || !oauth.SameOrigin(server, req.URL) {
		return nil, badRequest("url has another origin than the server")
	}
	return req, nil
}

// prove returns the proof for a request with a token that is bound to a key.
func prove(t *handstamp.Token, req *http.Request, nonce string) (*proofBody, error) {
	if req == nil {
		return nil, badRequest("the token is bound to a key (DPoP): each request needs a proof, " +
			"so name its method and url")
	}
	if nonce != "" {
		t.KeepNonce(&http.Response{Request: req, Header: http.Header{"Dpop-Nonce": {nonce}}})
	}
	if err := t.SetHeaders(req); err != nil {
		return nil, err
	}
	return &proofBody{req.Method, req.URL.String(), req.Header.Get("DPoP")}, nil
}

// client returns the Client of a user who has a login at the server, or errNoLogin.
func (s *service) client(ctx context.Context, r *request) (*handstamp.Client, error) {
	key, err := store.NewKey(r.server(), s.Profile)
	if err != nil {
		return nil, err
	}
	login := ownedKey{r.owner, key}
	if !s.known.has(login) {
		// A Client keeps a few things of each server that it is used for. What callers make up
		// must not fill the memory.
		values, err := s.Database.Store(r.owner)
		if err == nil {
			_, _, err = values.Get(ctx, key)
		}
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, errNoLogin
		case err != nil && !errors.Is(err, store.ErrCorrupt): // which can be signed out
			return nil, err
		}
		s.known.add(login)
	}
	return s.App.Client(r.owner)
}

// orNoLogin returns err, or errNoLogin where the user has signed out.
func (s *service) orNoLogin(
	ctx context.Context, err error, c *handstamp.Client, r *request,
) error {
	if !errors.Is(err, handstamp.ErrLoginRequired) {
		return err
	}
	if status, e := c.Status(ctx, r.server()); e == nil && status.State == handstamp.StateNone {
		return errNoLogin
	}
	return err
}
