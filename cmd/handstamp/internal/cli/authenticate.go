package cli

import (
	"cmp"
	"crypto/tls"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/oauth"
)

// authenticate sets in a client how tokens are obtained and how it authenticates: as the flags
// say, else the configuration, else as the stored login was made.
func (a *app) authenticate(c *handstamp.Client, t *target, o *loginOptions) error {
	flags := o.auth.set.or(a.global.certificate())
	stored := a.loadSettings(t)
	if o.secret.given() || t.config.ClientSecretFile != "" || t.config.ClientSecretEnv != "" {
		stored = stored.withoutKey() // another client's
	}
	t.auth = flags.or(t.config.authSettings).or(stored).absolute()
	t.keep = flags.or(stored).absolute()
	if t.keep.Grant == grantCode {
		t.keep.Grant = "" // which it is without a setting
	}
	if e := t.keep.Enterprise; e != nil { // the store has the client
		t.keep.Enterprise = &enterpriseSettings{Issuer: e.Issuer, IDToken: e.IDToken, Device: e.Device}
	}
	a.hideVariables(t.auth.variables()...)
	if t.local && t.auth.apply(a, &handstamp.Client{}) != nil {
		t.auth = authSettings{DPoP: t.auth.DPoP}
	}
	used := a.global.connection
	if used.ClientCert == "" && t.auth.ClientCertFile != "" {
		used.ClientCert, used.ClientKey = t.auth.ClientCertFile, t.auth.ClientKeyFile
		var err error
		if c.BaseTransport, err = a.transport(used); err != nil {
			return err
		}
	}
	if err := t.auth.apply(a, c); err != nil {
		return err
	}
	if err := missing(c); err != nil {
		if !t.local {
			return err
		}
		c.Registration = nil // the stored login has the client
	}
	c.Prompt.ShowCode = a.showCode(t)
	a.countDown(c)
	c.RefreshHelper = a.helper(t, o, c, used)
	return nil
}

// certificate returns the settings of the global flags.
func (g *globalOptions) certificate() authSettings {
	return authSettings{ClientCertFile: g.ClientCert, ClientKeyFile: g.ClientKey}
}

// apply sets the settings in a client.
func (s authSettings) apply(a *app, c *handstamp.Client) (err error) {
	c.DPoP = dpopModes[s.DPoP]
	if c.Key, err = s.key(); err != nil {
		return err
	}
	if s.ClientCertFile != "" {
		pair, err := loadCertificate(s.ClientCertFile, s.ClientKeyFile)
		if err != nil {
			return err
		}
		c.Certificate = &pair
	}
	c.Grant, err = s.grant(a)
	return err
}

func loadCertificate(certFile, keyFile string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return pair, usage("--client-cert and --client-key cannot be used: %w", err)
	}
	return pair, nil
}

// grant returns the grant of the settings; nil for the authorization code grant.
func (s authSettings) grant(a *app) (handstamp.Grant, error) {
	switch s.Grant {
	case grantClientCredentials:
		return handstamp.ClientCredentials{}, nil
	case grantDevice:
		return handstamp.DeviceCode{}, nil
	case grantWorkload:
		source, err := parseSource(s.Workload)
		if err != nil {
			return nil, usage("workload cannot be %q: %w", s.Workload, err)
		}
		return handstamp.JWTBearer{Assertion: source}, nil
	case grantEnterprise:
		return s.Enterprise.grant(a)
	}
	return nil, nil
}

// missing finds a method that needs what no setting gives.
func missing(c *handstamp.Client) error {
	if c.Registration == nil {
		return nil
	}
	switch method := c.Registration.TokenEndpointAuthMethod; {
	case method == oauth.MethodPrivateKeyJWT && c.Key == nil:
		return usage("the method %s needs the client's private key: name its file with --jwt-key", method)
	case oauth.UsesCertificate(method) && c.Certificate == nil:
		return usage("the method %s needs a certificate: give it with --client-cert and --client-key", method)
	}
	return nil
}

// checkSettings finds settings in a configuration that cannot work.
func (s authSettings) checkSettings() error {
	return cmp.Or(
		oneOf("grant", s.Grant, grantWords), oneOf("dpop", s.DPoP, dpopWords),
		together("client_cert_file", s.ClientCertFile, "client_key_file", s.ClientKeyFile),
	)
}

func oneOf(name, value string, words []string) error {
	var text string
	if value == "" {
		return nil
	}
	if err := (choice{&text, words}).Set(value); err != nil {
		return usage("%s cannot be %q: %w", name, value, err)
	}
	return nil
}

func together(name, value, name2, value2 string) error {
	if (value == "") != (value2 == "") {
		return usage("%s and %s go together", name, name2)
	}
	return nil
}
