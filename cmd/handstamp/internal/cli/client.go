package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
)

// loginTimeout is how long a login waits for the user.
const loginTimeout = 5 * time.Minute

// client returns a Client for a target, with the flags of a login in o. The app closes it.
func (a *app) client(
	t *target, o *loginOptions, policy handstamp.LoginPolicy,
) (*handstamp.Client, error) {
	c := &handstamp.Client{
		Profile:      t.profile,
		LoginPolicy:  policy,
		LoginTimeout: cmp.Or(a.global.Timeout, loginTimeout),
		LockTimeout:  a.lockTimeout(),
		Prompt:       a.prompt(t, o),
		ClientName:   "Handstamp",

		AuthorizationServer: t.config.AuthorizationServer,

		Hooks: a.hooks(t),

		InsecureAllowHTTP:             a.global.allowHTTP || t.config.AllowHTTP,
		InsecureAllowMissingPKCE:      t.config.AllowMissingPKCE,
		InsecureAllowPrivateAddresses: t.config.AllowPrivateAddresses,
	}
	a.listen(c)
	if err := o.apply(a, c, t); err != nil {
		return nil, err
	}
	var err error
	if c.BaseTransport, err = a.transport(a.global.connection); err != nil {
		return nil, err
	}
	// The store comes last, so that an error before it leaves no folder behind.
	if policy != handstamp.LoginNever {
		if err := a.decideStore(); err != nil {
			return nil, err
		}
	}
	if c.Store, err = a.openStore(); err != nil {
		return nil, err
	}
	if err := a.authenticate(c, t, o); err != nil {
		return nil, err
	}
	a.clients = append(a.clients, c)
	return c, nil
}

// hooks shows users what concerns them, and keeps the settings of a login.
func (a *app) hooks(t *target) handstamp.Hooks {
	return handstamp.Hooks{
		LoggedIn: func(e handstamp.LoginEvent) {
			if e.Err == nil {
				a.saveFlags(t)
				a.saveSettings(t)
			}
		},
		Notice: func(_, message string) { a.notice(message) },
	}
}

// notice shows a message that is no error.
func (a *app) notice(message string) {
	if !a.global.quiet {
		a.warn(message)
	}
}

// warn shows a message even with --quiet.
func (a *app) warn(message string) {
	message = strings.TrimSuffix(message, ".")
	if a.global.json {
		_ = a.err.json(map[string]any{"warning": map[string]string{"message": message}}, false)
		return
	}
	a.err.warn("", "%s", capital(message))
}

// transport returns the transport that the flags describe, or nil for the
// library's own.
func (a *app) transport(g connection) (http.RoundTripper, error) {
	if g.CAFile == "" && g.ClientCert == "" && g.Proxy == "" {
		return nil, nil
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if g.CAFile != "" {
		pem, err := os.ReadFile(g.CAFile)
		if err != nil {
			return nil, usage("--ca-file cannot be read: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, usage("--ca-file %s holds no certificate in PEM form", g.CAFile)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	if g.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(g.ClientCert, g.ClientKey)
		if err != nil {
			return nil, usage("--client-cert and --client-key cannot be used: %w", err)
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	switch g.Proxy {
	case "":
	case "none":
		t.Proxy = nil
	default:
		u, _ := url.Parse(g.Proxy) // check has parsed it
		t.Proxy = http.ProxyURL(u)
	}
	return t, nil
}
