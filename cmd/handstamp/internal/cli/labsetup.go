package cli

import (
	"cmp"
	"encoding/json"
	"os"
	"strings"

	"github.com/handstamp/handstamp/lab"
	"github.com/spf13/cobra"
)

// labSetup is what an administrator does at a server of the lab.
type labSetup struct {
	dir string

	clientID, secretFile, jwksFile, method string

	trusted  []string // ISSUER=FILE
	exchange []string // AUDIENCE=CLIENT_ID
}

func (o *labSetup) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "setup-dir", "", "`folder` for the files of a personality that needs "+
		"setup by an administrator (default: a temporary one)")
	flags.StringVar(&o.clientID, "client-id", "", "register a client with this `id`")
	flags.StringVar(&o.secretFile, "client-secret-file", "", "file with its secret")
	flags.StringVar(&o.jwksFile, "client-jwks", "", "file with its public keys, a JWK set")
	bindChoice(cmd, &o.method, "client-auth-method",
		"how it authenticates (default: with what it has)", authMethods...)
	repeatedVar(flags, &o.trusted, "trust", "accept the tokens of an issuer: "+
		"`ISSUER=FILE`, a JWK set (may be repeated)")
	repeatedVar(flags, &o.exchange, "allow-exchange", "issue ID-JAGs for an authorization "+
		"server: `AUDIENCE=CLIENT_ID`, the client's id there (may be repeated)")
}

// apply sets up a server, for the personality and for the flags. It returns what the client gets,
// and what ends it.
func (o *labSetup) apply(
	server *lab.Server, setup *lab.Setup,
) (given map[string]string, end func(), err error) {
	if err := o.configure(server); err != nil {
		return nil, nil, err
	}
	if setup == nil {
		if o.dir != "" {
			return nil, nil, usage("--setup-dir needs a --personality that an administrator sets up")
		}
		return nil, func() {}, nil
	}
	arrangement, err := server.Arrange(*setup)
	if err != nil {
		return nil, nil, err
	}
	dir, remove := o.dir, func() {}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "handstamp-lab-"); err == nil {
			remove = func() { _ = os.RemoveAll(dir) }
		}
	} else {
		dir = absolutePath(dir)
		err = os.MkdirAll(dir, 0o700)
	}
	end = func() {
		arrangement.Close()
		remove()
	}
	if err == nil {
		given, err = arrangement.Write(dir)
	}
	if err != nil {
		end()
		return nil, nil, usage("the files of the setup cannot be written: %w", err)
	}
	return given, end, nil
}

// configure does what the flags say.
func (o *labSetup) configure(server *lab.Server) error {
	if err := o.registerClient(server); err != nil {
		return err
	}
	for _, pair := range o.trusted {
		issuer, file, ok := strings.Cut(pair, "=")
		if !ok || issuer == "" || file == "" {
			return usage("--trust is ISSUER=FILE, not %q", pair)
		}
		keys, err := readJWKS("trust", file)
		if err != nil {
			return err
		}
		server.TrustIssuer(issuer, keys)
	}
	for _, pair := range o.exchange {
		audience, id, _ := strings.Cut(pair, "=")
		if audience == "" || id == "" {
			return usage("--allow-exchange is AUDIENCE=CLIENT_ID, not %q", pair)
		}
		server.AllowExchange(audience, id)
	}
	return nil
}

// registerClient registers the client that the flags describe, if any.
func (o *labSetup) registerClient(server *lab.Server) error {
	if o.clientID == "" {
		if cmp.Or(o.secretFile, o.jwksFile, o.method) != "" {
			return usage("a client of the server has an id: give it with --client-id")
		}
		return nil
	}
	client := lab.ConfiguredClient{ID: o.clientID, Method: o.method}
	if o.secretFile != "" {
		raw, err := readFile(o.secretFile, maxConfig)
		if err != nil {
			return usage("--client-secret-file cannot be read: %w", err)
		}
		client.Secret = strings.TrimSpace(string(raw))
	}
	var err error
	if client.JWKS, err = readJWKS("client-jwks", o.jwksFile); err != nil {
		return err
	}
	server.RegisterClient(client)
	return nil
}

// readJWKS reads the file of a flag; no file is no set.
func readJWKS(flag, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	raw, err := readFile(file, maxConfig)
	if err != nil {
		return "", usage("--%s cannot be read: %w", flag, err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(raw, &set) != nil || len(set.Keys) == 0 {
		return "", usage("--%s: %s is no JWK set with a key", flag, file)
	}
	return string(raw), nil
}
