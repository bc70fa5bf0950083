package service

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
)

// problem is the body of a response without what was requested (RFC 9457). Its type is about:blank:
// code says what it is.
type problem struct {
	Title      string     `json:"title"`
	Status     int        `json:"status"`
	Code       string     `json:"code"`
	Detail     string     `json:"detail"`
	Hint       string     `json:"hint,omitempty"`
	Server     string     `json:"server,omitempty"`
	Command    string     `json:"command,omitempty"` // signs the user in
	OAuthError string     `json:"oauth_error,omitempty"`
	RetryAt    *time.Time `json:"retry_at,omitempty"`

	retryAfter int // seconds; 0: none
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// The codes. Those that the command has, too, mean the same there.
const (
	codeUsage           = "usage"
	codeUnauthenticated = "unauthenticated"
	codeForbidden       = "forbidden"
	codeRate            = "rate_limited"
	codeNoLogin         = "no_login"
	codeLogin           = "auth_required"
	codeStore           = "store"
	codeUnreachable     = "unreachable"
	codeError           = "error"
)

func rejection(status int, code, detail string) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

func badRequest(detail string) *problem {
	return rejection(http.StatusBadRequest, codeUsage, detail)
}

// retryAfter is the time after which a request may succeed that failed for want of the database, in
// seconds, and where an authorization server gave no time.
const retryAfter = 2

// kinds are the statuses and codes of the library's errors.
var kinds = []struct {
	sentinel error
	status   int
	code     string
}{
	{handstamp.ErrInvalidConfig, http.StatusBadRequest, codeUsage},
	{handstamp.ErrLoginRequired, http.StatusConflict, codeLogin},
	{handstamp.ErrClientRejected, http.StatusConflict, "client_rejected"},
	{handstamp.ErrProtocol, http.StatusBadGateway, "protocol"},
	{handstamp.ErrUnreachable, http.StatusServiceUnavailable, codeUnreachable},
	{handstamp.ErrStore, http.StatusServiceUnavailable, codeStore},
	{store.ErrUnusable, http.StatusServiceUnavailable, codeStore},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, codeUnreachable},
	{context.Canceled, http.StatusServiceUnavailable, codeUnreachable},
}

// problemOf returns the problem of an error. req is nil where there is no request of a user yet.
func (s *service) problemOf(ctx context.Context, err error, req *request) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	if errors.Is(err, errNoLogin) {
		p = rejection(http.StatusNotFound, codeNoLogin, err.Error())
		s.addServer(p, req)
		return p
	}
	p = rejection(http.StatusInternalServerError, codeError, "the request failed in the service")
	for _, k := range kinds {
		if errors.Is(err, k.sentinel) {
			p = rejection(k.status, k.code, p.Detail)
			break
		}
	}
	s.describe(ctx, p, err)
	if p.Code != codeStore {
		s.addServer(p, req)
	}
	if p.Status == http.StatusServiceUnavailable {
		p.retryAfter = retryAfter
		if p.RetryAt != nil {
			p.retryAfter = max(1, int(math.Ceil(time.Until(*p.RetryAt).Seconds())))
		}
	}
	return p
}

// addServer adds the server, and how the user signs in there.
func (s *service) addServer(p *problem, req *request) {
	if req == nil || req.server() == "" {
		return
	}
	p.Server = req.server()
	if s.NextStep != nil && (p.Code == codeLogin || p.Code == codeNoLogin) {
		p.Command = s.NextStep(req.owner, p.Server)
	}
}

// describe adds the text of an error. That of a database names machines of the operator's, which
// concern no caller: it is in the log.
func (s *service) describe(ctx context.Context, p *problem, err error) {
	var e *handstamp.Error
	var noKey *sealed.KeyError
	switch {
	case errors.As(err, &noKey):
		p.Detail = "the login is sealed with a key that the service does not have; nothing is lost"
	case p.Code == codeStore:
		p.Detail = "the database cannot be used now; nothing is lost"
	case errors.As(err, &e):
		p.Hint, p.OAuthError = e.Hint, e.Code
		p.Detail = strings.TrimSuffix(e.Error(), "; "+e.Hint)
		if !e.RetryAt.IsZero() {
			at := e.RetryAt.UTC().Truncate(time.Second)
			p.RetryAt = &at
		}
	case ctx.Err() != nil:
		p.Detail = "the request took too long; a refresh that has begun goes on"
	}
}
