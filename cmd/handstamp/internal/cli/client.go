package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
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

// storeWords are the values of --store that are no path.
var storeWords = []string{"auto", "file", "memory"}

// openStore opens the credential store once. The choice is the flag's, the
// environment's or the configuration's.
func (a *app) openStore() (store.Store, error) {
	if a.store != nil {
		return a.store, nil
	}
	conf, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	choice := cmp.Or(a.global.Store, a.env.get("HANDSTAMP_STORE"), conf.Store, "auto")
	switch {
	case choice == "memory":
		a.store, a.place = &store.Memory{}, "memory"
		return a.store, nil
	case choice == "auto" || choice == "file":
		dirs, err := findFolders(a.env)
		if err != nil {
			return nil, err
		}
		return a.openFiles(dirs, "file store")
	}
	dir, err := a.storeFolder(choice)
	if err != nil {
		return nil, err
	}
	f, _ := findFolders(a.env) // a configuration file is not needed
	dirs := filestore.Folders{Config: f.Config, Credentials: filepath.Clean(dir)}
	return a.openFiles(dirs, "file store "+dir)
}

// storedKeys opens the store and returns the keys of what it has.
func (a *app) storedKeys(ctx context.Context) ([]store.Key, error) {
	credentials, err := a.openStore()
	if err != nil {
		return nil, err
	}
	keys, err := credentials.List(ctx)
	if err != nil {
		return nil, &failure{kind: kindStore, err: err}
	}
	return keys, nil
}

// statuses opens the store and returns the status of each login in it.
func (a *app) statuses(ctx context.Context) ([]*handstamp.Status, error) {
	credentials, err := a.openStore()
	if err != nil {
		return nil, err
	}
	c := &handstamp.Client{Store: credentials, LoginPolicy: handstamp.LoginNever}
	a.listen(c)
	a.clients = append(a.clients, c)
	return c.List(ctx)
}

// storeFolder returns the folder that a value of --store names, as a path or a
// file: URL.
func (a *app) storeFolder(choice string) (string, error) {
	if u, err := url.Parse(choice); err == nil && u.Scheme == "file" {
		if u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return "", usage("the store %q names no folder of this machine: write file:///path", choice)
		}
		return filepath.FromSlash(u.Path), nil
	}
	if strings.Contains(choice, "://") || !strings.ContainsAny(choice, `/\.`) {
		return "", usage("there is no store %q: it is auto, file, memory or the path of a folder%s",
			choice, didYouMean(choice, storeWords))
	}
	dir, err := filepath.Abs(a.inHome(choice))
	if err != nil {
		return "", &failure{kind: kindStore, message: "the store's path cannot be made absolute",
			err: err}
	}
	return dir, nil
}

func (a *app) openFiles(dirs filestore.Folders, place string) (store.Store, error) {
	files, err := dirs.Open(filestore.Options{Warn: a.warn})
	if err != nil {
		return nil, &failure{kind: kindStore, err: err}
	}
	a.store, a.place, a.dirs = files, place, &dirs
	return files, nil
}
