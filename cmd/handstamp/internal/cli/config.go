package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// config is the configuration file, config.json in the folder for
// configuration, which handstamp add and remove edit, and which notes where credentials are.
// Every member is optional:
//
//	{
//	  "profile": "work",
//	  "store": "file",
//	  "servers": {
//	    "linear": {
//	      "url": "https://mcp.linear.app/mcp",
//	      "client_id": "0oa4…",
//	      "client_secret_file": "/run/secrets/linear",
//	      "token_endpoint_auth_method": "client_secret_post",
//	      "scopes": ["read", "write"]
//	    }
//	  }
//	}
//
// A flag and the environment win over a server's member, and that over the
// file's. Secrets are not in here: a file or a variable is named that has one.
type config struct {
	Profile string `json:"profile"`
	storeMembers
	Servers map[string]*serverConfig `json:"servers"`

	aliases map[string]string // by the server of the key; nil until its first use
}

// aliasOf returns the alias of a server, by the server of its key, or "". Of several it is the first.
func (c *config) aliasOf(server string) string {
	if c.aliases == nil {
		c.aliases = make(map[string]string, len(c.Servers))
		for _, alias := range slices.Backward(slices.Sorted(maps.Keys(c.Servers))) {
			if k, err := store.NewKey(withScheme(c.Servers[alias].URL), ""); err == nil {
				c.aliases[k.Server] = alias
			}
		}
	}
	return c.aliases[server]
}

// serverConfig is the configuration of one server, under its alias.
type serverConfig struct {
	URL     string `json:"url"`
	Profile string `json:"profile,omitempty"`

	ClientID          string `json:"client_id,omitempty"`
	ClientSecretFile  string `json:"client_secret_file,omitempty"`
	ClientSecretEnv   string `json:"client_secret_env,omitempty"`
	ClientMetadataURL string `json:"client_metadata_url,omitempty"`
	Issuer            string `json:"issuer,omitempty"` // of the client; empty: the one that the server names
	AuthMethod        string `json:"token_endpoint_auth_method,omitempty"`

	authSettings

	// AuthorizationServer describes an authorization server that discovery does not find.
	AuthorizationServer *handstamp.AuthorizationServer `json:"authorization_server,omitempty"`

	Scopes       []string          `json:"scopes,omitempty"`
	Resource     string            `json:"resource,omitempty"`
	NoResource   bool              `json:"no_resource,omitempty"`
	Params       map[string]string `json:"params,omitempty"` // more parameters of the authorization request
	RedirectURI  string            `json:"redirect_uri,omitempty"`
	CallbackPort int               `json:"callback_port,omitempty"`

	// Headers are sent with each request to the MCP server; ${VAR} is taken from the environment.
	Headers map[string]string `json:"headers,omitempty"`

	AllowHTTP             bool `json:"allow_http,omitempty"`
	AllowMissingPKCE      bool `json:"allow_missing_pkce,omitempty"`
	AllowPrivateAddresses bool `json:"allow_private_addresses,omitempty"`
}

// maxConfig bounds the configuration file, in bytes.
const maxConfig = 1 << 20

// loadConfig reads the configuration once. No file is an empty configuration.
func (a *app) loadConfig() (*config, error) {
	if a.conf != nil {
		return a.conf, nil
	}
	dirs, err := findFolders(a.env)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dirs.Config, "config.json")
	b, err := readFile(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		a.conf = &config{}
		return a.conf, nil
	}
	if err != nil {
		return nil, usage("the configuration %s cannot be read: %w", path, err)
	}
	conf, err := parseConfig(b)
	if err != nil {
		return nil, usage("the configuration %s is wrong: %w", path, err)
	}
	a.conf = conf
	return conf, nil
}

// parseConfig decodes and checks a configuration. Unknown members are errors: a
// misspelt one would be a setting that silently does nothing.
func parseConfig(b []byte) (*config, error) {
	var conf config
	b = bytes.TrimPrefix(b, byteOrderMark)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&conf); err != nil {
		return nil, describeJSON(b, d, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("line %d: there is more after the end", lineOf(b, d.InputOffset()))
	}
	for _, alias := range slices.Sorted(maps.Keys(conf.Servers)) {
		s := conf.Servers[alias]
		switch {
		case s == nil || s.URL == "":
			return nil, fmt.Errorf("server %q has no url", alias)
		case alias == "" || strings.HasPrefix(alias, "-") || strings.ContainsAny(alias, "/: \t\n") ||
			clean(alias) != alias:
			return nil, fmt.Errorf("%q cannot be the alias of a server: use a word without "+
				"spaces, slashes and colons, which does not begin with a dash", alias)
		case s.ClientSecretFile != "" && s.ClientSecretEnv != "":
			return nil, fmt.Errorf("server %q has both client_secret_file and client_secret_env", alias)
		}
		if _, err := parseURL(s.URL); err != nil {
			return nil, fmt.Errorf("server %q: %w", alias, err)
		}
		if err := cmp.Or(s.checkAuthorizationServer(), s.checkSettings(), s.checkHeaders()); err != nil {
			return nil, fmt.Errorf("server %q: %w", alias, err)
		}
	}
	return &conf, nil
}

// checkAuthorizationServer finds a description that cannot work before it is needed.
func (s *serverConfig) checkAuthorizationServer() error {
	a := s.AuthorizationServer
	if a == nil {
		return nil
	}
	if a.Issuer == "" && (a.AuthorizationEndpoint == "" || a.TokenEndpoint == "") {
		return errors.New("authorization_server needs an issuer, " +
			"or an authorization_endpoint and a token_endpoint")
	}
	for _, e := range []struct{ name, value string }{
		{"issuer", a.Issuer}, {"authorization_endpoint", a.AuthorizationEndpoint},
		{"token_endpoint", a.TokenEndpoint},
		{"registration_endpoint", a.RegistrationEndpoint}, {"revocation_endpoint", a.RevocationEndpoint},
	} {
		if e.value == "" {
			continue
		}
		u, err := parseURL(e.value)
		if err != nil || !strings.Contains(e.value, "://") ||
			u.Scheme == "http" && !oauth.IsLoopback(u.Hostname()) {
			return fmt.Errorf("the %s of authorization_server is not an https:// URL", e.name)
		}
	}
	if s.Issuer != "" && a.Issuer != "" &&
		strings.TrimSuffix(s.Issuer, "/") != strings.TrimSuffix(a.Issuer, "/") {
		return errors.New("the client's issuer and that of authorization_server are two different ones")
	}
	return nil
}

// describeJSON returns what is wrong with a configuration, and where.
func describeJSON(b []byte, d *json.Decoder, err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("line %d: %w", lineOf(b, syntax.Offset), err)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("line %d: %s cannot be a JSON %s", lineOf(b, wrong.Offset),
			cmp.Or(wrong.Field, "the configuration"), wrong.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name = strings.Trim(name, `"`)
		if name == "client_secret" {
			return errors.New("a client_secret does not belong in this file: " +
				"name a file with client_secret_file, or a variable with client_secret_env")
		}
		// The decoder does not say where; the first place with the name is it.
		at := int64(bytes.Index(b, []byte(`"`+name+`"`)))
		return fmt.Errorf("line %d: there is no member %q%s", lineOf(b, max(0, at)), name,
			didYouMean(name, configMembers()))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return err
}

// configMembers returns the names that a configuration may use.
func configMembers() []string {
	var names []string
	for _, t := range []reflect.Type{
		reflect.TypeFor[config](), reflect.TypeFor[storeMembers](), reflect.TypeFor[serverConfig](), reflect.TypeFor[authSettings](),
		reflect.TypeFor[enterpriseSettings](),
		reflect.TypeFor[handstamp.AuthorizationServer](),
	} {
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// lineOf returns the line of an offset, counted from 1.
func lineOf(b []byte, offset int64) int {
	return 1 + bytes.Count(b[:min(offset, int64(len(b)))], []byte("\n"))
}
