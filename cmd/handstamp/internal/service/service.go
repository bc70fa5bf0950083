// Package service gives access tokens of a database's users to processes that are not Go, over
// HTTP: the credential service of handstamp serve. It has no page and starts no login.
//
// Each caller is known by a key, by the user that its process runs as, or by a client certificate,
// and is confined to one tenant, and to one user of it if its entry in [Callers] says so.
package service

import (
	"context"
	_ "embed"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/store"
)

// OpenAPI describes the service: an OpenAPI document in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// Options are what a service needs.
type Options struct {
	// App has the Clients of the users, and Database what they have. Profile is the Clients'.
	App      *hosted.App
	Database store.Database
	Profile  string

	// Callers are those who may make requests.
	Callers *Callers

	// Timeout bounds each request; a refresh that takes longer goes on. Zero is 30 seconds.
	Timeout time.Duration

	// Rate is how many requests a caller may make in a second, over time; twice as many may come
	// at once. Zero is 100.
	Rate float64

	// NextStep returns the command with which a user signs in. Nil: there is none.
	NextStep func(o store.Owner, server string) string

	// Logger receives what failed in the service itself. Nil: nothing does.
	Logger *slog.Logger
}

const (
	defaultTimeout = 30 * time.Second
	defaultRate    = 100
)

// service is the handler.
type service struct {
	Options
	mux    http.ServeMux
	limits limits
	known  knownLogins
}

// New returns the handler of the service.
func New(o Options) http.Handler {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Rate <= 0 {
		o.Rate = defaultRate
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &service{Options: o, limits: limits{rate: o.Rate}}
	s.mux.HandleFunc("GET /v1/token", s.endpoint(s.token, "server", "min_ttl", "refresh", "rejected", "method",
		"url", "nonce"))
	s.mux.HandleFunc("GET /v1/logins", s.endpoint(s.logins))
	s.mux.HandleFunc("DELETE /v1/logins", s.endpoint(s.signOut, "server"))
	s.mux.HandleFunc("GET /v1/openapi.yaml", serveOpenAPI)
	for path, methods := range map[string]string{
		"/v1/token": "GET, HEAD", "/v1/logins": "DELETE, GET, HEAD", "/v1/openapi.yaml": "GET, HEAD",
	} {
		s.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", methods)
			write(w, rejection(http.StatusMethodNotAllowed, codeUsage, "this path has no such method"))
		})
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, rejection(http.StatusNotFound, codeUsage, "there is no such path; /v1/openapi.yaml has all"))
	})
	return s
}

// ServeHTTP implements [http.Handler].
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 { // no request has a body
		h.Set("Connection", "close")
		write(w, rejection(http.StatusRequestEntityTooLarge, codeUsage, "no request has a body"))
		return
	}
	s.mux.ServeHTTP(w, r)
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(OpenAPI)
}

// request is what a caller wants of one user.
type request struct {
	owner store.Owner
	query url.Values
}

// server returns the server that a request names.
func (r *request) server() string { return r.query.Get("server") }

// endpoint returns the handler of a path: it knows the caller, holds it to its bounds, and calls
// do. The parameters are those beside tenant and user.
func (s *service) endpoint(
	do func(context.Context, *request) (any, error), parameters ...string,
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.Timeout)
		defer cancel()
		caller, err := s.Callers.of(r)
		if err == nil {
			err = s.limits.take(caller.Name, time.Now())
		}
		var req *request
		if err == nil {
			req, err = newRequest(r, caller, parameters)
		}
		var body any
		if err == nil {
			body, err = do(ctx, req)
		}
		if err != nil {
			p := s.problemOf(ctx, err, req)
			if p.Status >= http.StatusInternalServerError {
				s.Logger.WarnContext(ctx, "a request failed", "path", r.URL.Path, "code", p.Code, "err", err)
			}
			write(w, p)
			return
		}
		write(w, body)
	}
}

// write writes a response: a problem, or what was requested.
func write(w http.ResponseWriter, body any) {
	kind, status := "application/json", http.StatusOK
	if p, ok := body.(*problem); ok {
		kind, status = "application/problem+json", p.Status
		if p.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(p.retryAfter))
		}
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
	}
	text, err := json.Marshal(body)
	if err != nil { // of a time beyond the year 9999
		status, text = http.StatusInternalServerError, []byte("{}")
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}
