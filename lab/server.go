package lab

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Server needs in addition to its habits. The zero value is ready to use.
type Options struct {
	// MCP is the MCP server behind the bearer check, on every method of the MCP
	// path. Nil means a built-in one with two tools, echo and whoami.
	MCP http.Handler

	// Hook is called at points of every request; see Event. It may block, may be
	// called at the same time by several requests, and may call every method of
	// the Server but Close. Nil means none.
	Hook func(Event)

	// Addr is where the authorization server listens, and the MCP server too if
	// they share an origin: a loopback IP address and a port. Empty means a free
	// port on 127.0.0.1.
	Addr string

	// MCPAddr is where the MCP server listens if it has an origin of its own.
	// Empty means a free port on 127.0.0.1.
	MCPAddr string

	// TLS makes the servers speak HTTPS, with certificates of an authority of their own, and request
	// client certificates; see [MTLS], [Server.CertPool].
	TLS bool

	// Fetch gets the client ID metadata document or the JWK set at a URL. Nil means that it is
	// fetched by HTTP.
	Fetch func(ctx context.Context, url string) ([]byte, error)
}

// Server is an authorization server and the MCP server that it protects. All
// methods may be called from any number of goroutines.
type Server struct {
	habits    Habits
	options   Options
	origin    string // of the authorization server, without a slash
	mcpOrigin string
	// aliasOrigin is where client certificates are requested, empty if nowhere else.
	aliasOrigin string
	builtin     http.Handler
	clock       clock
	authority   *authority // nil without TLS
	// signingKey is for ID tokens and ID-JAGs.
	signingKey func() *rsa.PrivateKey
	serves     atomic.Pointer[string] // the resource of the MCP server that has moved here
	listening  []*http.Server
	life       context.Context // ends with Close
	end        context.CancelFunc
	requests   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	done    bool       // Close has begun
	movedTo *Server    // who issues the tokens that the MCP server takes, if not this one
	state   state
	log     requestLog
	rules   faults
	gates   []*Gate
}

// Origins of servers that listen nowhere.
const (
	inMemoryOrigin    = "https://as.lab.test"
	inMemoryMCPOrigin = "https://mcp.lab.test"
)

// New returns servers that listen nowhere: they are reached through RoundTripper
// or Handler, as https://as.lab.test and https://mcp.lab.test.
func New(h Habits, o Options) (*Server, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	s := &Server{
		habits:    h.clone(),
		options:   o,
		origin:    inMemoryOrigin,
		mcpOrigin: inMemoryMCPOrigin,
		state:     newState(),

		signingKey: sync.OnceValue(nextSigningKey),
	}
	s.life, s.end = context.WithCancel(context.Background())
	if h.OneOrigin {
		s.mcpOrigin = s.origin
	}
	s.builtin = &mcpServer{sessions: make(map[string]bool)}
	return s, nil
}

// Start returns servers with these habits, listening on loopback.
func Start(h Habits) (*Server, error) { return StartWith(h, Options{}) }

// StartWith is Start with options.
func StartWith(h Habits, o Options) (*Server, error) {
	s, err := New(h, o)
	if err != nil {
		return nil, err
	}
	if h.MTLS != (MTLS{}) && !o.TLS {
		return nil, errNoTLS
	}
	if o.TLS {
		if s.authority, err = newAuthority(); err != nil {
			return nil, fmt.Errorf("lab: %w", err)
		}
	}
	// Each listens, and requests client certificates, as the habits have it.
	places := []place{{&s.origin, o.Addr, !h.MTLS.Aliases}}
	if !h.OneOrigin {
		places = append(places, place{&s.mcpOrigin, o.MCPAddr, h.MTLS.BoundTokens})
	}
	if h.MTLS.Aliases {
		places = append(places, place{&s.aliasOrigin, "", true})
	}
	listeners := make([]net.Listener, len(places))
	for i, p := range places {
		if listeners[i], err = listen(p.addr); err != nil {
			for _, open := range listeners[:i] {
				err = errors.Join(err, open.Close())
			}
			return nil, err
		}
		*p.origin = s.scheme() + "://" + listeners[i].Addr().String()
	}
	if h.OneOrigin {
		s.mcpOrigin = s.origin
	}
	for i, p := range places {
		if err := s.serve(listeners[i], p.certificates); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// place is where a server listens.
type place struct {
	origin       *string
	addr         string
	certificates bool // it requests client certificates
}

func (s *Server) scheme() string {
	if s.authority != nil {
		return "https"
	}
	return "http"
}

func listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return listener, nil
}

func (s *Server) serve(listener net.Listener, certificates bool) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 2 * time.Minute, // a busy client may open a connection long before it uses it
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	serve := func() error { return server.Serve(listener) }
	if s.authority != nil {
		config, err := s.authority.server(certificates)
		if err != nil {
			return errors.Join(fmt.Errorf("lab: %w", err), listener.Close())
		}
		server.TLSConfig = config
		serve = func() error { return server.ServeTLS(listener, "", "") }
	}
	s.listening = append(s.listening, server)
	s.requests.Go(func() {
		// It returns when Close closes it; any other error has no reader.
		_ = serve()
	})
	return nil
}

// Close ends the servers and every request, held ones included, and waits until
// they are gone, which for one in the Hook is when that returns. It may be called
// twice.
func (s *Server) Close() {
	s.mu.Lock()
	s.done = true
	s.mu.Unlock()
	s.end()
	for _, server := range s.listening {
		_ = server.Close()
	}
	s.requests.Wait()
}

// Habits returns a copy of the server's personality.
func (s *Server) Habits() Habits { return s.habits.clone() }

// URL is the origin of the authorization server.
func (s *Server) URL() string { return s.origin }

// Issuer is the authorization server's issuer, as its metadata has it.
func (s *Server) Issuer() string {
	if s.habits.MetadataIssuer != "" {
		return s.habits.MetadataIssuer
	}
	issuer := s.origin + s.habits.IssuerPath
	if s.habits.IssuerSlash == SlashMetadata || s.habits.IssuerSlash == SlashBoth {
		issuer += "/"
	}
	return issuer
}

// MCPURL is the URL of the MCP server: what a user gives to a client.
func (s *Server) MCPURL() string { return s.mcpOrigin + s.mcpPath() }

// ResourceURL is the resource member of the MCP server's metadata: of the one
// that has moved here, if one has.
func (s *Server) ResourceURL() string {
	if resource := s.serves.Load(); resource != nil {
		return *resource
	}
	switch s.habits.ResourceName {
	case "":
		return s.MCPURL()
	case NameOrigin:
		return s.mcpOrigin
	case NameQuery:
		return s.MCPURL() + "?version=1"
	case NameSlash:
		return s.MCPURL() + "/"
	default:
		return s.habits.ResourceName
	}
}

func (s *Server) mcpPath() string {
	if s.habits.MCPPath == "" {
		return "/mcp"
	}
	return s.habits.MCPPath
}

// endpointURL is the URL of an endpoint of the authorization server.
func (s *Server) endpointURL(path string) string { return s.origin + s.prefix() + path }

// prefix is the path that the authorization server's endpoints are under.
// Without metadata a client can only guess, and guesses the root.
func (s *Server) prefix() string {
	if s.habits.ServerForm == ServerNone {
		return ""
	}
	return s.habits.IssuerPath
}

// Handler returns both servers as one handler, which tells them apart by the
// Host header, and knows no other host.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.handle) }
