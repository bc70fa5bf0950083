package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
)

// TokenRequest is a request to the token endpoint: with Code the exchange of an
// authorization code (RFC 6749 section 4.1.3), with RefreshToken a refresh
// (section 6), with GrantType any other grant. Exactly one of them is set.
type TokenRequest struct {
	Endpoint string
	Client   Authenticator

	// Prover binds the tokens to a key (RFC 9449); nil requests bearer tokens.
	Prover Prover

	Code        Secret
	RedirectURI string
	Verifier    Secret

	RefreshToken Secret

	// GrantType is that of another grant, and Params are its parameters.
	GrantType string
	Params    url.Values

	Resource string // RFC 8707; "": omitted
	Scope    string // "": omitted

	// Extra are further parameters. They cannot replace one of the above.
	Extra url.Values
}

// RawResponse is a token endpoint's response as it was received, so that it can be stored before it
// is parsed with [ParseTokenResponse].
type RawResponse struct {
	Status      int
	ContentType string
	Header      http.Header // only Retry-After and Date
	Body        Secret      // decompressed if necessary, otherwise unchanged
	Truncated   bool        // the body ended early, or was longer than 256 KiB
	ReceivedAt  time.Time
	Proved      bool // the request had a proof, so that the token may be bound to its key

	redactor redactor // of the request
}

// PostToken sends a request to the token endpoint once, over a new connection, and never repeats
// it, since code and refresh token may be valid for one use only. It follows redirects on the
// same origin that keep method and body. It takes at most 30 s.
//
// Every response with a status is returned as a [*RawResponse], even if its body is incomplete.
// If there is none, the error is a [*SendError]. If the request was not made, the error is a
// [*ProtocolError] that rejects the endpoint, or another that names what the request lacks.
func (f *Fetcher) PostToken(ctx context.Context, req TokenRequest) (*RawResponse, error) {
	form, err := req.form()
	if err != nil {
		return nil, err
	}
	a, err := f.postProved(ctx, PurposeToken, req.Endpoint, req.Client, req.Prover, form, maxToken)
	if err != nil {
		return nil, err
	}
	raw := &RawResponse{
		Status:      a.status,
		ContentType: a.header.Get("Content-Type"),
		Header:      http.Header{},
		Body:        Secret(a.body),
		Truncated:   a.truncated,
		ReceivedAt:  time.Now(),
		Proved:      req.Prover != nil,
		redactor:    a.redactor,
	}
	for _, name := range []string{"Retry-After", "Date"} {
		if v := a.header.Get(name); v != "" {
			raw.Header.Set(name, v)
		}
	}
	return raw, nil
}

func (r TokenRequest) form() (url.Values, error) {
	form := url.Values{}
	for name, values := range r.Extra {
		form[name] = values
	}
	for name, values := range r.Params {
		form[name] = values
	}
	switch {
	case r.GrantType != "" && r.Code == "" && r.RefreshToken == "":
		form.Set("grant_type", r.GrantType)
	case r.GrantType != "":
		return nil, errors.New("oauth: a token request has more than one grant")
	case r.Code != "" && r.RefreshToken == "":
		form.Set("grant_type", "authorization_code")
		form.Set("code", r.Code.Reveal())
		setOrDelete(form, "redirect_uri", r.RedirectURI)
		setOrDelete(form, "code_verifier", r.Verifier.Reveal())
	case r.RefreshToken != "" && r.Code == "":
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", r.RefreshToken.Reveal())
	default:
		return nil, errors.New("oauth: a token request needs a code or a refresh token, and not both")
	}
	setOrDelete(form, "resource", r.Resource)
	setOrDelete(form, "scope", r.Scope)
	return form, nil
}

func setOrDelete(form url.Values, name, value string) {
	if value == "" {
		form.Del(name)
		return
	}
	form.Set(name, value)
}

// postForm posts a form with the client's credentials. Its errors are those of
// [Fetcher.PostToken].
func (f *Fetcher) postForm(ctx context.Context, what, endpoint string, client Authenticator,
	form url.Values, limit int64) (*response, error) {
	return f.postProved(ctx, what, endpoint, client, nil, form, limit)
}

// postProved is postForm with a proof of possession, if the prover is not nil. A request that the
// server rejects for want of its nonce was not carried out, and is sent once more with that nonce
// (RFC 9449 section 8).
func (f *Fetcher) postProved(ctx context.Context, what, endpoint string, client Authenticator, prover Prover,
	form url.Values, limit int64) (*response, error) {
	for first := true; ; first = false {
		var proofs *proving
		if prover != nil {
			proofs = &proving{prover: prover}
		}
		a, err := f.postOnce(ctx, what, endpoint, client, proofs, maps.Clone(form), limit)
		if err != nil || !first || proofs == nil || !proofs.freshNonce || a.status/100 != 4 || !wantsNonce(a) {
			return a, err
		}
	}
}

// postOnce posts a form, with proofs unless that is nil.
func (f *Fetcher) postOnce(ctx context.Context, what, endpoint string, client Authenticator, proofs *proving,
	form url.Values, limit int64) (*response, error) {
	if _, err := parseEndpoint(what, endpoint); err != nil {
		return nil, err
	}
	if client == nil {
		return nil, errors.New("oauth: the request has no client")
	}
	ctx, cancel := awake.WithTimeout(ctx, secretTimeout, nil)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, &SendError{Err: err}
	}
	header := http.Header{}
	if err := apply(ctx, client, header, form); err != nil {
		return nil, err
	}
	var sent atomic.Bool
	if _, traced := f.HTTP().(*http.Transport); !traced {
		sent.Store(true) // another RoundTripper may not report when it writes
	}
	if err := ctx.Err(); err != nil {
		return nil, &SendError{Err: err}
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// The secrets are in the body, which is written after this, or in an Authorization header
		// that is of no use without it.
		WroteHeaders: func() { sent.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				sent.Store(true)
			}
		},
	})
	req, err := f.request(ctx, http.MethodPost, endpoint, []byte(form.Encode()))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Close = true
	carried := f.addKnownSecrets(redactorOf(form, header))
	rt, done := f.newConnection()
	defer done()
	if proofs != nil {
		proofs.base, rt = rt, proofs
	}
	a, err := f.roundTrip(rt, req, limit, Exchange{Purpose: what, AuthMethod: methodOf(client)})
	carried = proofs.addTo(carried)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // the transport may return a less specific error
		}
		return nil, &SendError{Sent: sent.Load(), Err: carried.redactError(err)}
	}
	a.redactor = carried
	return a, nil
}

// apply is [Authenticator.Apply] for as long as ctx lasts: the client's key may be in a service that
// does not respond. After an error, header and form are not to be used.
func apply(ctx context.Context, client Authenticator, header http.Header, form url.Values) error {
	applied := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				applied <- fmt.Errorf("oauth: the client's key panics: %T", p)
			}
		}()
		applied <- client.Apply(header, form)
	}()
	select {
	case err := <-applied:
		return err
	case <-ctx.Done():
		return fmt.Errorf("oauth: the client was not authenticated in time: %w", context.Cause(ctx))
	}
}
