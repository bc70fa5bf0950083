package cli

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/spf13/cobra"
)

// The token endpoint auth methods that can be configured (RFC 7591, section 2).
const (
	methodNone  = "none"
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
)

var authMethods = []string{methodNone, methodBasic, methodPost, oauth.MethodSecretJWT,
	oauth.MethodPrivateKeyJWT, oauth.MethodTLS, oauth.MethodSelfSignedTLS}

// loginOptions are the flags of a login: the client, what it requests, and how the user
// signs in.
type loginOptions struct {
	scopes       []string
	clientID     string
	secret       secretSource
	metadataURL  string
	method       string
	resource     string
	noResource   bool
	params       []string
	callbackPort int
	noBrowser    bool
	paste        bool
	auth         authOptions
}

func (o *loginOptions) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	repeatedVar(flags, &o.scopes, "scope",
		"request this scope instead of the server's (may be repeated)")
	flags.StringVar(&o.clientID, "client-id", "", "a client that was registered by hand")
	o.secret.bind(flags)
	flags.StringVar(&o.metadataURL, "client-metadata-url", "", "URL of a client ID metadata document")
	bindChoice(cmd, &o.method, "token-endpoint-auth-method",
		"how the client was registered to authenticate", authMethods...)
	flags.StringVar(&o.resource, "resource", "",
		"send this resource parameter instead of the server's own")
	flags.BoolVar(&o.noResource, "no-resource", false, "send no resource parameter")
	repeatedVar(flags, &o.params, "param",
		"add `key=value` to the authorization request (may be repeated)")
	flags.IntVar(&o.callbackPort, "callback-port", 0,
		"port of the redirect URI on this machine (0: any)")
	flags.BoolVar(&o.noBrowser, "no-browser", false,
		"open no browser, only show the URL (environment: HANDSTAMP_NO_BROWSER)")
	flags.BoolVar(&o.paste, "paste", false,
		"open no browser; read the URL that yours ended at from standard input")
	o.auth.bind(cmd)
}

// reserved are the parameters of an authorization request that --param must not
// change: the protocol's checks depend on them.
var reserved = []string{
	"response_type", "client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method",
	"scope", "resource", "client_secret", "request", "request_uri", "response_mode",
}

// check finds what cannot work before anything is sent or opened.
func (o *loginOptions) check() error {
	if err := o.checkCombinations(); err != nil {
		return err
	}
	if err := o.auth.check(); err != nil {
		return err
	}
	// The client ID metadata document draft, section 3: https and a path.
	if u, err := url.Parse(o.metadataURL); o.metadataURL != "" &&
		(err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") == "") {
		return usage("--client-metadata-url is an https:// URL with a path")
	}
	// RFC 8707, section 2: an absolute URI without a fragment.
	if u, err := url.Parse(o.resource); o.resource != "" &&
		(err != nil || !u.IsAbs() || strings.Contains(o.resource, "#")) {
		return usage("--resource is an absolute URI without a fragment")
	}
	_, err := o.parameters()
	return err
}

// checkCombinations finds flags that contradict or need each other.
func (o *loginOptions) checkCombinations() error {
	for _, c := range []struct {
		wrong   bool
		message string
	}{
		{o.secret.twice(), "give the client secret once: with --client-secret-file, " +
			"--client-secret-env or --client-secret-stdin"},
		{o.clientID == "" && o.secret.given(),
			"a client secret needs --client-id, the client that it belongs to"},
		{o.clientID == "" && o.method != "",
			"--token-endpoint-auth-method describes how a client was registered, so it needs --client-id"},
		{o.clientID != "" && o.metadataURL != "",
			"--client-id and --client-metadata-url name two different clients"},
		{o.resource != "" && o.noResource, "--resource and --no-resource contradict each other"},
		{o.callbackPort < 0 || o.callbackPort > 65535, "--callback-port is a number up to 65535"},
		{o.paste && o.secret.stdin,
			"standard input is for the client secret or the pasted URL: use --client-secret-file"},
	} {
		if c.wrong {
			return usage("%s", c.message)
		}
	}
	return nil
}

// parameters returns the parameters that --param adds.
func (o *loginOptions) parameters() (url.Values, error) {
	values := url.Values{}
	for _, p := range o.params {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, usage("--param is name=value, not %q", p)
		}
		if slices.Contains(reserved, name) {
			return nil, usage("--param cannot set %s, which Handstamp sets itself", name)
		}
		values.Add(name, value)
	}
	return values, nil
}

// authParams returns what is added to the authorization request: by the flags, and by the
// configuration where no flag has the same name.
func (o *loginOptions) authParams(conf *serverConfig) (url.Values, error) {
	params, err := o.parameters()
	if err != nil {
		return nil, err
	}
	for name, value := range conf.Params {
		if !params.Has(name) && !slices.Contains(reserved, name) {
			params.Set(name, value)
		}
	}
	return params, nil
}

// repeated returns the flags without which a login would be another one.
func (o *loginOptions) repeated() string {
	s := loginFlags(o.resource, o.params)
	if o.noResource {
		s += " --no-resource"
	}
	return s
}

// loginFlags returns flags of a login as a command line has them.
func loginFlags(resource string, params []string) string {
	s := ""
	if resource != "" {
		s += " --resource " + shellWord(resource)
	}
	for _, param := range params {
		s += " --param " + shellWord(param)
	}
	return s
}

// apply sets in the client the options, and the server's configuration where there is
// no option.
func (o *loginOptions) apply(a *app, c *handstamp.Client, t *target) error {
	conf := t.config
	params, err := o.authParams(conf)
	if err != nil {
		return err
	}
	c.ExtraAuthParams = params
	c.Scopes = conf.Scopes
	if o.scopes != nil {
		c.Scopes = strings.Fields(strings.Join(o.scopes, " "))
	}
	c.Resource, c.OmitResource = conf.Resource, conf.NoResource
	if o.resource != "" || o.noResource {
		c.Resource, c.OmitResource = o.resource, o.noResource
	}
	c.ClientMetadataURL = cmp.Or(o.metadataURL, conf.ClientMetadataURL)
	c.RedirectURI = conf.RedirectURI
	c.CallbackPort = cmp.Or(o.callbackPort, conf.CallbackPort)
	if c.Registration, err = o.registration(a, conf); err != nil {
		if !t.local {
			return err
		}
		c.Registration = nil // the stored login has the client, with its secret
	}
	return o.auth.apply(a, c)
}

// registration returns the client that was registered by hand, or nil.
func (o *loginOptions) registration(a *app, conf *serverConfig) (*handstamp.Registration, error) {
	r := &handstamp.Registration{ClientID: o.clientID, Issuer: conf.Issuer,
		TokenEndpointAuthMethod: o.method}
	source := o.secret
	if r.ClientID == "" { // and so no flag for its secret and method
		if conf.ClientID == "" || o.metadataURL != "" {
			return nil, nil
		}
		r.ClientID, r.TokenEndpointAuthMethod = conf.ClientID, conf.AuthMethod
		source = secretSource{file: conf.ClientSecretFile, env: conf.ClientSecretEnv}
	}
	const variable = "HANDSTAMP_CLIENT_SECRET"
	if !source.given() && a.env.get(variable) != "" {
		source.env = variable
	}
	if r.TokenEndpointAuthMethod == methodNone {
		if source.given() && source.env != variable {
			return nil, usage("the method none sends no secret: " +
				"leave the secret out, or name the method that sends it")
		}
		return r, nil
	}
	var err error
	r.ClientSecret, err = source.read(a)
	needsSecret := slices.Contains([]string{methodBasic, methodPost, oauth.MethodSecretJWT}, r.TokenEndpointAuthMethod)
	if err == nil && r.ClientSecret == "" && needsSecret {
		err = usage("%s needs a client secret: give it with --client-secret-file, "+
			"--client-secret-env or --client-secret-stdin", r.TokenEndpointAuthMethod)
	}
	return r, err
}
