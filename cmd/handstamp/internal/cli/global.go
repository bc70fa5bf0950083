package cli

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/store"
	"github.com/spf13/pflag"
)

// globalOptions are the flags that every command has.
type globalOptions struct {
	connection
	profile   string // empty: environment, configuration, "default"
	json      bool
	verbose   bool
	quiet     bool
	allowHTTP bool
}

// connection has the flags for the store and the network, which a helper process needs, too.
type connection struct {
	Store      string // empty: environment, configuration, "auto"
	Tenant     string // with User: whose logins of a database are used
	User       string
	CAFile     string // empty: the system's certification authorities
	ClientCert string
	ClientKey  string
	Proxy      string        // empty: HTTPS_PROXY and its kin; "none": none
	Timeout    time.Duration // zero: none, and 5 minutes for a login
}

func (g *globalOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&g.profile, "profile", "",
		"which of several logins at one server to use (environment: HANDSTAMP_PROFILE)")
	flags.StringVar(&g.Store, "store", "",
		"where credentials are kept: auto, keyring, file, encrypted, memory, a folder's path, or\n"+
			"postgres://… (environment: HANDSTAMP_STORE)")
	flags.StringVar(&g.Tenant, "tenant", "", "use the logins of this tenant, with --store postgres://…")
	flags.StringVar(&g.User, "user", "", "use the logins of this user of the tenant, with --store postgres://…")
	flags.BoolVar(&g.json, "json", false, "write JSON, errors too")
	flags.BoolVarP(&g.verbose, "verbose", "v", false, "log each step to standard error (never a secret)")
	flags.BoolVar(&g.quiet, "quiet", false, "print only errors, and what you have to do")
	flags.StringVar(&g.CAFile, "ca-file", "",
		"PEM file of certification authorities to trust beside the system's")
	flags.StringVar(&g.ClientCert, "client-cert", "", "PEM file of a TLS client certificate")
	flags.StringVar(&g.ClientKey, "client-key", "", "PEM file of its key")
	flags.StringVar(&g.Proxy, "proxy", "",
		"URL of an HTTP or SOCKS proxy, or none (environment: HTTPS_PROXY, NO_PROXY)")
	flags.BoolVar(&g.allowHTTP, "allow-http", false,
		"accept plain http beyond this machine: tokens travel in the clear")
	flags.DurationVar(&g.Timeout, "timeout", 0,
		"give up after this long (by default a login waits 5m, and a command 15s for another process)")
}

// check finds what cannot work before anything is done.
func (g *globalOptions) check() error {
	if (g.ClientCert == "") != (g.ClientKey == "") {
		return usage("--client-cert and --client-key go together")
	}
	if g.Timeout < 0 {
		return usage("--timeout cannot be negative")
	}
	if g.Proxy != "" && g.Proxy != "none" {
		u, err := url.Parse(g.Proxy)
		schemes := []string{"http", "https", "socks5", "socks5h"}
		if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
			return usage("--proxy is none or a URL such as http://proxy.example:3128")
		}
		if _, has := u.User.Password(); has {
			return usage("--proxy must not hold a password, which every user of this machine " +
				"could read; set HTTPS_PROXY instead")
		}
	}
	if hasPassword(g.Store) {
		return usage("--store must not hold a password, which every user of this machine could " +
			"read; set HANDSTAMP_STORE or PGPASSFILE instead")
	}
	return checkProfile(g.profile)
}

// checkProfile rejects names that would not survive a terminal or a file.
func checkProfile(name string) error {
	if clean(name) != name || strings.TrimSpace(name) != name || len(name) > maxProfile {
		return usage("a profile is a short name without control characters and surrounding spaces")
	}
	return nil
}

// baseProfile returns the profile where none is named for a server.
func (a *app) baseProfile() string { return cmp.Or(a.conf.Profile, store.DefaultProfile) }

// lockTimeout is how long commands that a script or a user waits for let another process keep
// a lock, unless --timeout says otherwise. A login waits for a user in another process for as
// long as for its own.
const lockTimeout = 15 * time.Second

// lockTimeout returns how long another process may keep a lock. It is less than --timeout, so
// that there is time left to name that process.
func (a *app) lockTimeout() time.Duration {
	return cmp.Or(a.global.Timeout*3/4, lockTimeout)
}

// bounded bounds the requests of a command by --timeout, if it is given.
func (a *app) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.global.Timeout == 0 {
		return ctx, func() {}
	}
	return awake.WithTimeout(ctx, a.global.Timeout, nil)
}
