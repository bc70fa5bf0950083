package cli

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
)

// authSettings say how tokens are obtained and how the client authenticates. They come from the
// flags of a login, a server's configuration, and what an earlier login was made with, in this
// order. No secret is in here: files and variables are named that have one.
type authSettings struct {
	// Grant is one of the grant words; "" is the authorization code grant.
	Grant      string              `json:"grant,omitempty"`
	Workload   string              `json:"workload,omitempty"` // a token source, with grantWorkload
	Enterprise *enterpriseSettings `json:"enterprise,omitempty"`

	JWTKeyFile     string `json:"jwt_key_file,omitempty"` // PEM or JWK
	JWTKeyID       string `json:"jwt_key_id,omitempty"`
	JWTKeyAlg      string `json:"jwt_key_alg,omitempty"`
	ClientCertFile string `json:"client_cert_file,omitempty"` // of TLS, PEM
	ClientKeyFile  string `json:"client_key_file,omitempty"`
	DPoP           string `json:"dpop,omitempty"` // one of dpopWords; "" is auto
}

// enterpriseSettings describe the login at the company's identity provider.
type enterpriseSettings struct {
	Issuer           string `json:"issuer"`
	ClientID         string `json:"client_id,omitempty"`
	ClientSecretFile string `json:"client_secret_file,omitempty"`
	ClientSecretEnv  string `json:"client_secret_env,omitempty"`
	IDToken          string `json:"id_token,omitempty"` // a token source; "": the user signs in
	Device           bool   `json:"device,omitempty"`   // on another device
}

// The grant words: what a login begins with.
const (
	grantCode              = "authorization_code"
	grantClientCredentials = "client_credentials"
	grantDevice            = "device_code"
	grantWorkload          = "workload"
	grantEnterprise        = "enterprise"
)

var (
	grantWords = []string{grantCode, grantClientCredentials, grantDevice, grantWorkload, grantEnterprise}
	dpopWords  = []string{"auto", "always", "never"}
	dpopModes  = map[string]handstamp.DPoPMode{
		"": handstamp.DPoPAuto, "auto": handstamp.DPoPAuto,
		"always": handstamp.DPoPAlways, "never": handstamp.DPoPNever,
	}
)

// or returns the settings with what they leave open taken from others.
func (s authSettings) or(other authSettings) authSettings {
	if s.Grant == "" {
		s.Grant, s.Workload, s.Enterprise = other.Grant, other.Workload, other.Enterprise
	}
	if s.JWTKeyFile == "" {
		s.JWTKeyFile, s.JWTKeyID = other.JWTKeyFile, cmp.Or(s.JWTKeyID, other.JWTKeyID)
		s.JWTKeyAlg = cmp.Or(s.JWTKeyAlg, other.JWTKeyAlg)
	}
	if s.ClientCertFile == "" {
		s.ClientCertFile, s.ClientKeyFile = other.ClientCertFile, other.ClientKeyFile
	}
	s.DPoP = cmp.Or(s.DPoP, other.DPoP)
	return s
}

// withoutKey returns the settings for a client that authenticates with a secret.
func (s authSettings) withoutKey() authSettings {
	s.JWTKeyFile, s.JWTKeyID, s.JWTKeyAlg = "", "", ""
	return s
}

// leftSetting is a setting that another machine does not take over, in words, and the flags that
// give it there.
type leftSetting struct{ what, flags string }

// withoutSources returns the settings as another machine takes them over, and what is left out: all
// that names something of a machine. Whoever writes to a user could have them send any file or
// variable to a server, or run a command.
func (s authSettings) withoutSources() (authSettings, []leftSetting) {
	var left []leftSetting
	leave := func(what, flags string) { left = append(left, leftSetting{what, flags}) }
	if s.Workload != "" || s.Grant == grantWorkload {
		leave(sourceInWords(s.Workload), "--workload SOURCE")
		s.Grant, s.Workload = "", ""
	}
	if e := s.Enterprise; e != nil && e.IDToken+e.ClientSecretFile+e.ClientSecretEnv != "" {
		flags := "--enterprise " + shellWord(e.Issuer)
		if e.IDToken != "" {
			leave(sourceInWords(e.IDToken), flags+" --enterprise-id-token SOURCE")
		} else {
			leave("the client secret in "+e.ClientSecretFile+e.ClientSecretEnv,
				flags+" --enterprise-client-id ID --enterprise-client-secret-file FILE")
		}
		s.Grant, s.Enterprise = "", nil
	}
	if s.JWTKeyFile != "" {
		flags := "--jwt-key FILE"
		if s.JWTKeyID != "" {
			flags += " --jwt-key-id " + shellWord(s.JWTKeyID)
		}
		if s.JWTKeyAlg != "" {
			flags += " --jwt-key-alg " + shellWord(s.JWTKeyAlg)
		}
		leave("the key file "+s.JWTKeyFile, flags)
		s = s.withoutKey()
	}
	if s.ClientCertFile+s.ClientKeyFile != "" {
		leave("the certificate "+s.ClientCertFile, "--client-cert FILE --client-key FILE")
		s.ClientCertFile, s.ClientKeyFile = "", ""
	}
	return s, left
}

// absolute returns the settings with paths that another session can use, too.
func (s authSettings) absolute() authSettings {
	for _, path := range []*string{&s.JWTKeyFile, &s.ClientCertFile, &s.ClientKeyFile} {
		*path = absolutePath(*path)
	}
	if e := s.Enterprise; e != nil {
		copied := *e
		copied.ClientSecretFile, copied.IDToken = absolutePath(e.ClientSecretFile), absoluteSource(e.IDToken)
		s.Enterprise = &copied
	}
	s.Workload = absoluteSource(s.Workload)
	return s
}

func absolutePath(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// key reads the client's key; nil if there is none.
func (s authSettings) key() (*clientkey.Key, error) {
	if s.JWTKeyFile == "" {
		return nil, nil
	}
	data, err := readFile(s.JWTKeyFile, 1<<20)
	if err != nil {
		return nil, usage("the key file %s cannot be read: %w", s.JWTKeyFile, err)
	}
	key, err := clientkey.Parse(data, clientkey.Options{ID: s.JWTKeyID, Algorithm: s.JWTKeyAlg})
	if err != nil {
		return nil, usage("the key file %s cannot be used: %w", s.JWTKeyFile, err)
	}
	return key, s.checkKeyMode()
}

// checkKeyMode finds a key file that is open to others.
func (s authSettings) checkKeyMode() error {
	info, err := os.Stat(s.JWTKeyFile)
	// A group may read it: in a container, that is often how a mounted key reaches its user.
	if err != nil || runtime.GOOS == "windows" || !info.Mode().IsRegular() || info.Mode()&0o006 == 0 {
		return nil
	}
	e := usage("every user of this machine can read or change the key file %s", s.JWTKeyFile)
	e.hint = "run chmod 600 " + shellWord(s.JWTKeyFile) +
		", and use a new key if another user may have read this one"
	return e
}

// variables returns the environment variables that hold what is secret.
func (s authSettings) variables() []string {
	names := []string{strings.TrimPrefix(s.Workload, "env:")}
	if e := s.Enterprise; e != nil {
		names = append(names, e.ClientSecretEnv, strings.TrimPrefix(e.IDToken, "env:"))
	}
	return names
}
