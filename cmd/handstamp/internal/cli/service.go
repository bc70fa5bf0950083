package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/cmd/handstamp/internal/service"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/webpage"
	"github.com/handstamp/handstamp/store"
)

// serviceOptions are the flags of the credential service.
type serviceOptions struct {
	listen, socket  string
	cert, key, ca   string
	callers         string
	requestsASecond uint
}

func (o *serviceOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.listen, "listen", "",
		"with a database: serve at this `address`, such as 127.0.0.1:8700")
	flags.StringVar(&o.socket, "socket", "",
		"with a database: serve at a Unix socket with this `path`, mode 0600")
	flags.StringVar(&o.cert, "tls-cert", "", "with a database: PEM file of the service's certificate")
	flags.StringVar(&o.key, "tls-key", "", "with a database: PEM file of its key")
	flags.StringVar(&o.ca, "tls-client-ca", "",
		"with a database: PEM file of the authorities that issue the callers' certificates")
	flags.StringVar(&o.callers, "callers", "", "with a database: file of the callers (default: that of handstamp caller)")
	flags.UintVar(&o.requestsASecond, "rate", 0,
		"with a database: requests a second that each caller may make on average (default 100)")
}

// check finds flags that cannot work.
func (o *serviceOptions) check() error {
	tlsFlags := []string{o.cert, o.key, o.ca}
	withTLS := tlsFlags[0] != "" && tlsFlags[1] != "" && tlsFlags[2] != ""
	host, _, err := net.SplitHostPort(o.listen)
	switch {
	case o.listen == "" && o.socket == "":
		return usage("name the address to serve tokens at: --listen 127.0.0.1:8700, or --socket PATH")
	case o.listen != "" && err != nil:
		return usage("--listen is an address such as 127.0.0.1:8700")
	case !withTLS && o.cert+o.key+o.ca != "":
		return usage("--tls-cert, --tls-key and --tls-client-ca go together")
	case withTLS && o.listen == "":
		return usage("--tls-cert needs --listen")
	case o.listen != "" && !withTLS && !oauth.IsLoopback(host):
		return usage("%s can be reached from other machines, which needs mTLS: give --tls-cert, "+
			"--tls-key and --tls-client-ca, or listen at 127.0.0.1", o.listen)
	}
	return nil
}

// serviceOutput is what --json prints when the service is ready.
type serviceOutput struct {
	URL    string `json:"url,omitempty"`
	Socket string `json:"socket,omitempty"`
}

// The time that a service has to end: responses under way first, then refreshes.
const (
	serviceShutdown = 20 * time.Second
	serviceClose    = 45 * time.Second
)

// runService serves tokens until ctx ends, which is no error.
func (s *serveCommand) runService(ctx context.Context, word string, args []string) error {
	switch {
	case len(args) > 0 || s.port != 0 || s.open || s.noBrowser:
		return usage("with a database there is no page: leave servers, --port, --open and " +
			"--no-browser out")
	case s.global.Tenant+s.global.User != "":
		return usage("handstamp caller add sets whose logins are served: leave --tenant and --user out")
	}
	if err := s.service.check(); err != nil {
		return err
	}
	path, err := s.callersPath(s.service.callers)
	if err != nil {
		return err
	}
	if _, err := service.ReadCallers(path); err != nil {
		return callersFailure(err)
	}
	db, err := s.openDatabase(ctx, word)
	if err != nil {
		return err
	}
	defer db.close()
	users, err := s.users(db)
	if err != nil {
		return err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), serviceClose)
		defer cancel()
		_ = users.Close(ending)
	}()
	return s.serveTokens(ctx, service.New(service.Options{
		App: users, Database: db, Profile: s.serviceProfile(), Timeout: s.global.Timeout,
		Callers: &service.Callers{Path: path}, Rate: float64(s.service.requestsASecond),
		NextStep: s.nextStep, Logger: slog.New(s.logHandler(slog.LevelWarn)),
	}))
}

// serviceProfile returns the profile of the logins that are served.
func (s *serveCommand) serviceProfile() string {
	return cmp.Or(s.global.profile, s.env.get("HANDSTAMP_PROFILE"), s.conf.Profile)
}

// users returns the Clients of the users in a database.
func (s *serveCommand) users(db store.Database) (*hosted.App, error) {
	transport, err := s.transport(s.global.connection)
	if err != nil {
		return nil, err
	}
	return &hosted.App{Database: db, Configure: func(_ store.Owner, c *handstamp.Client) {
		c.Profile, c.LockTimeout = s.serviceProfile(), s.lockTimeout()
		c.InsecureAllowHTTP = s.global.allowHTTP
		c.UntrustedServers = false // no caller names a server: those of the logins are used
		if transport != nil {
			c.BaseTransport = transport
		}
		s.listen(c)
	}}, nil
}

// nextStep returns the command that signs a user in.
func (s *serveCommand) nextStep(o store.Owner, server string) string {
	command := "handstamp login " + shellWord(server) + " --tenant " + shellWord(o.Tenant) +
		" --user " + shellWord(o.User)
	if profile := s.serviceProfile(); profile != "" {
		command += " --profile " + shellWord(profile)
	}
	return command
}

// serveTokens serves at all addresses until ctx ends, and then what is under way.
func (s *serveCommand) serveTokens(ctx context.Context, h http.Handler) error {
	listeners, out, release, err := s.service.open(ctx)
	if err != nil {
		return err
	}
	defer release()
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout: 15 * time.Second, WriteTimeout: max(2*time.Minute, s.global.Timeout+time.Minute),
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 32 << 10, ConnContext: service.WithPeer, ErrorLog: webpage.NoLog}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- server.Serve(l) }()
	}
	err = s.print(out, func() {
		s.err.ok("", "Tokens are served at %s", cmp.Or(out.URL, out.Socket))
		if out.URL != "" && out.Socket != "" {
			s.err.note("", "And at %s", out.Socket)
		}
	})
	if err == nil {
		select {
		case err = <-failed:
			err = fmt.Errorf("tokens can no longer be served: %w", err)
		case <-ctx.Done():
		}
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), serviceShutdown)
	defer cancel()
	if server.Shutdown(ending) != nil {
		_ = server.Close()
	}
	return err
}

// open listens at all addresses. release frees what outlives a listener.
func (o *serviceOptions) open(ctx context.Context) (
	all []net.Listener, out serviceOutput, release func(), err error,
) {
	release = func() {}
	defer func() {
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			release()
		}
	}()
	if o.socket != "" {
		if out.Socket, err = filepath.Abs(o.socket); err != nil {
			return all, out, release, err
		}
		l, unlock, err := service.ListenSocket(out.Socket)
		if err != nil {
			return all, out, release, &failure{kind: kindOther,
				message: "the service cannot listen at " + out.Socket, err: err}
		}
		all, release = append(all, l), unlock
	}
	if o.listen != "" {
		l, err := o.openTCP(ctx)
		if err != nil {
			return all, out, release, err
		}
		all = append(all, l)
		scheme := "http"
		if o.cert != "" {
			scheme = "https"
		}
		out.URL = (&url.URL{Scheme: scheme, Host: l.Addr().String()}).String()
	}
	return all, out, release, nil
}

func (o *serviceOptions) openTCP(ctx context.Context) (net.Listener, error) {
	var config *tls.Config
	if o.cert != "" {
		var err error
		files := service.TLSFiles{Certificate: o.cert, Key: o.key, ClientCA: o.ca}
		if config, err = files.Config(); err != nil {
			return nil, usage("--tls-cert, --tls-key and --tls-client-ca cannot be used: %w", err)
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return nil, &failure{kind: kindOther, message: "the service cannot listen at " + o.listen,
			err: err}
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return l, nil
}

// callersFailure is the failure of a command that needs the file of callers.
func callersFailure(err error) error {
	f := &failure{kind: kindUsage, message: "the file of callers cannot be used", err: err}
	if errors.Is(err, os.ErrNotExist) {
		f.message, f.err = "there are no callers yet, so no program could get a token", nil
		f.hint = "run handstamp caller add NAME --tenant TENANT"
	}
	return f
}
