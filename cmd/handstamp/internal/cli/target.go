package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/shellword"
	"github.com/handstamp/handstamp/store"
)

// target is a server as a command line names it.
type target struct {
	name    string // as typed, for the commands that are suggested
	url     string
	profile string
	key     store.Key     // of the login
	config  *serverConfig // never nil
	auth    authSettings  // of the login; see app.authenticate
	keep    authSettings  // those that later sessions have to find again
	local   bool          // the command can do without secrets and keys that are kept elsewhere

	base       string       // the profile of servers for which none is named
	variable   string       // the profile that HANDSTAMP_PROFILE names
	repeat     string       // flags of this run for every suggested command
	loginFlags string       // flags of this run for a suggested login
	named      bool         // the profile was named: it is not derived from flags
	flags      profileFlags // what the profile is derived from, unless named
	derived    bool         // the profile was derived by another command
	stored     *shownFlags  // the flags of that command; nil if they are not known
}

// command returns a command line about this server, to be suggested.
func (t *target) command(verb string) string {
	s := "handstamp " + verb + " " + shellWord(t.name)
	flags := t.loginFlags
	if verb == "login" && t.derived && flags == "" {
		if t.stored == nil {
			return s + t.repeat // under that profile it would be a login for something else
		}
		flags = t.stored.loginFlags()
	}
	if t.profile != t.bareProfile() || t.profile != cmp.Or(t.variable, t.profile) {
		s += " --profile " + shellWord(t.profile)
	}
	if verb == "login" {
		s += flags
	}
	return s + t.repeat
}

// bareProfile returns the profile of a command line about this server that names none.
func (t *target) bareProfile() string {
	f, _ := new(loginOptions).profileFlags(t.config) // only flags can be wrong
	return cmp.Or(t.config.Profile, f.profile(t.base))
}

// registerCommand returns the command to run once a client is registered by hand with a
// redirect URI, whose port the next login has to listen on.
func (t *target) registerCommand(redirectURI string) string {
	command := t.command("login")
	if t.auth.Grant == grantDevice {
		command += " --device"
	}
	command += " --client-id ID"
	u, err := url.Parse(redirectURI)
	if err == nil && u.Scheme == "http" && u.Port() != "" && t.config.CallbackPort == 0 {
		command += " --callback-port " + u.Port()
	}
	return command
}

// shownFlags returns the flags that a derived profile stands for, if they are known.
func (t *target) shownFlags() *shownFlags {
	if t.stored != nil || t.named {
		return t.stored
	}
	return t.flags.shown()
}

// repeated returns the flags without which a suggested command would be about
// another login.
func (a *app) repeated() string {
	s := ""
	if a.global.Store != "" {
		s += " --store " + shellWord(a.global.Store)
	}
	for _, name := range []struct{ flag, value string }{
		{" --tenant ", a.global.Tenant}, {" --user ", a.global.User},
	} {
		if name.value != "" {
			s += name.flag + shellWord(name.value)
		}
	}
	if a.global.allowHTTP {
		s += " --allow-http"
	}
	return s
}

// target finds the server that an argument names: an alias of the configuration or a URL. The
// profile is the one that was named, or derived from what is configured.
func (a *app) target(arg string) (*target, error) {
	return a.targetWith(arg, &loginOptions{}, &headerOptions{})
}

// targetWith is target for a command with flags that may tell its login apart from
// others at the server, and checks these flags.
func (a *app) targetWith(arg string, o *loginOptions, headers *headerOptions) (*target, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	t, err := a.server(arg)
	if err != nil {
		return nil, err
	}
	f, err := o.profileFlags(t.config)
	if err != nil {
		return nil, err
	}
	headers.configured = t.config.Headers // every session's, so they tell no logins apart
	if err := headers.addTo(&f); err != nil {
		return nil, err
	}
	t.loginFlags = o.repeated()
	return t, a.setProfile(t, f)
}

// setProfile gives a target the profile that was named, or the one derived from flags.
func (a *app) setProfile(t *target, f profileFlags) error {
	t.profile = cmp.Or(a.global.profile, t.variable, t.config.Profile)
	if t.named = t.profile != ""; !t.named {
		t.flags, t.profile = f, f.profile(t.base)
	}
	t.key.Profile = t.profile
	return checkProfile(t.profile)
}

// newTarget returns a target without a key and a profile.
func (a *app) newTarget(name, url string, conf *serverConfig) *target {
	return &target{name: name, url: url, config: conf,
		base: a.baseProfile(), variable: a.env.get("HANDSTAMP_PROFILE"), repeat: a.repeated()}
}

// server finds the server that an argument names, without a profile.
func (a *app) server(arg string) (*target, error) {
	conf, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	t := a.newTarget(arg, arg, &serverConfig{})
	switch s, ok := conf.Servers[arg]; {
	case ok:
		t.config, t.url = s, s.URL
	case !strings.ContainsAny(arg, ".:/") && arg != "localhost":
		f := usage("there is no server %q in the configuration%s", arg,
			didYouMean(arg, slices.Sorted(maps.Keys(conf.Servers))))
		f.hint = "give the server's URL, or name it first with handstamp add " + shellWord(arg) + " URL"
		return nil, f
	}
	u, err := parseURL(t.url)
	if err != nil {
		return nil, usage("%w", err)
	}
	if err := checkHTTP(u, a.global.allowHTTP || t.config.AllowHTTP); err != nil {
		return nil, err
	}
	t.url = withScheme(t.url)
	if t.key, err = store.NewKey(t.url, ""); err != nil {
		return nil, usage("%w", err)
	}
	// A URL that was typed out gets what is configured for it, too.
	if _, conf := a.alias(t.key.Server); conf != nil && t.config.URL == "" {
		t.config = conf
	}
	return t, nil
}

// checkHTTP rejects plain http beyond this machine, unless it is allowed.
func checkHTTP(u *url.URL, allowed bool) error {
	if u.Scheme != "http" || oauth.IsLoopback(u.Hostname()) || allowed {
		return nil
	}
	return usage("%s is plain http, where anyone on the network can read the token; "+
		"use https, or --allow-http if you must", shownURL(u.String()))
}

// alias returns the configured name of a server and its configuration, or "".
func (a *app) alias(server string) (string, *serverConfig) {
	alias := a.conf.aliasOf(server)
	return alias, a.conf.Servers[alias]
}

// storedTarget returns the target of a stored credential.
func (a *app) storedTarget(k store.Key) *target {
	t := a.newTarget(k.Server, k.Server, &serverConfig{})
	t.key, t.named = k, true
	if alias, conf := a.alias(k.Server); alias != "" {
		t.name, t.config = alias, conf
	}
	a.setStored(t, k.Profile)
	return t
}

// wrongTarget returns the target of an alias that no command can use, for what is shown of it.
func (a *app) wrongTarget(alias string) *target {
	conf := a.conf.Servers[alias]
	t := a.newTarget(alias, withScheme(conf.URL), conf)
	t.named, t.profile = true, cmp.Or(a.global.profile, t.variable, t.bareProfile())
	t.key, _ = store.NewKey(t.url, t.profile)
	return t
}

// withScheme adds the scheme that may be left out: https, but http where the host
// is this machine, on which servers under development listen without TLS.
func withScheme(rawURL string) string {
	if strings.Contains(rawURL, "://") {
		return rawURL
	}
	if u, err := url.Parse("http://" + rawURL); err == nil && oauth.IsLoopback(u.Hostname()) {
		return "http://" + rawURL
	}
	return "https://" + rawURL
}

// parseURL parses a server's URL, whose scheme may be missing, and rejects what
// no server can have.
func parseURL(raw string) (*url.URL, error) {
	if clean(raw) != raw || strings.ContainsAny(raw, " \"<>\\^`{|}") {
		return nil, errors.New("a URL holds no spaces, quotes or control characters")
	}
	u, err := url.Parse(withScheme(raw))
	switch {
	case err != nil && strings.Contains(raw, "@"):
		return nil, errors.New("this is not a URL") // the cause may quote a password
	case err != nil:
		// The text of url.Parse quotes the URL, which may hold a secret.
		return nil, fmt.Errorf("this is not a URL: %w", errors.Unwrap(err))
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("a server's URL begins with https://, not with %s://", u.Scheme)
	case u.User != nil:
		return nil, errors.New("a server's URL must not hold a user name or password: " +
			"use handstamp login, or --client-secret-file")
	case u.Hostname() == "":
		return nil, errors.New("the URL names no host")
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return nil, errors.New("a server's URL has no fragment (#…)")
	}
	return u, nil
}

// shellWord quotes a word for a shell, where users paste commands.
func shellWord(s string) string { return shellword.Quote(s) }

// shellQuote quotes a text for a shell, in which it then means itself.
func shellQuote(s string) string { return shellword.Always(s) }

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
