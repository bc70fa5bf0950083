package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/handstamp/handstamp/clientdocument"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/spf13/cobra"
)

func (a *app) newClientDocument() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "client-document",
		Short: "Write and check client ID metadata documents",
		Long: `Write and check client ID metadata documents: a document at a URL of your own, which
is then the client's ID at every authorization server that supports it. Nothing is
registered.`,
		Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newDocumentNew(), a.newDocumentCheck())
	return cmd
}

// documentNew is handstamp client-document new.
type documentNew struct {
	*app
	document clientdocument.Document
	key      authSettings
	keySet   string // the file for the JWK set, with jwks_uri
	isNew    bool   // the key is in no file yet
}

func (a *app) newDocumentNew() *cobra.Command {
	d := &documentNew{app: a}
	cmd := &cobra.Command{
		Use:   "new <url>",
		Short: "Write the document to be published at a URL",
		Long: `Write the document to standard output. Publish it at its URL as application/json,
and sign in with --client-metadata-url URL.

Without --key it is a public client's, which needs no secret. With --key the client
authenticates with private_key_jwt: the private key is read from the file or, if
there is none, a new one is written to it that only you can read. The public key is
in the document or, with --jwks-uri, in the JWK set that --jwks writes.`,
		Example: `  handstamp client-document new https://example.com/client.json --name 'My agent' \
    --key client.pem > client.json
  handstamp client-document check https://example.com/client.json --key client.pem
  handstamp login mcp.example.com/mcp --jwt-key client.pem \
    --client-metadata-url https://example.com/client.json`,
		Args: exactly(1, "the URL of the document"),
		RunE: withArgs(d.run),
	}
	flags := cmd.Flags()
	flags.StringVar(&d.document.ClientName, "name", "Handstamp", "what servers show the user")
	repeatedVar(flags, &d.document.RedirectURIs, "redirect-uri",
		"where browsers come back to, in place of any port of this machine (may be repeated)")
	repeatedVar(flags, &d.document.GrantTypes, "grant-type",
		"grant that the client uses, instead of those of a login with a browser (may be repeated)")
	flags.StringVar(&d.document.ClientURI, "client-uri", "", "web page about the client")
	flags.StringVar(&d.document.LogoURI, "logo-uri", "", "its picture")
	flags.StringVar(&d.document.Scope, "scope", "", "scopes that it may request")
	flags.StringVar(&d.document.JWKSURI, "jwks-uri", "", "URL of the JWK set with the public key")
	flags.StringVar(&d.keySet, "jwks", "", "file to write the JWK set for --jwks-uri to")
	flags.StringVar(&d.key.JWTKeyFile, "key", "", "file with the client's private key; made if missing")
	flags.StringVar(&d.key.JWTKeyAlg, "key-alg", "", "algorithm of the key (default ES256)")
	return cmd
}

func (d *documentNew) run(_ context.Context, args []string) error {
	switch {
	case d.keySet != "" && (d.document.JWKSURI == "" || d.key.JWTKeyFile == ""):
		return usage("--jwks needs --jwks-uri, where the file will be, and --key")
	case d.key.JWTKeyAlg != "" && d.key.JWTKeyFile == "":
		return usage("--key-alg needs --key")
	}
	d.document.ClientID = args[0]
	grants := d.document.GrantTypes
	if d.document.RedirectURIs == nil && (grants == nil || slices.Contains(grants, grantCode)) {
		d.document.RedirectURIs = []string{"http://127.0.0.1/callback", "http://localhost/callback"}
	}
	var keys []*clientkey.Key
	if d.key.JWTKeyFile != "" {
		key, err := d.readKey()
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	d.document.Complete(keys...)
	text, err := d.document.Encode()
	if err != nil {
		return usage("this would be no document that servers take: %w", err)
	}
	for _, f := range clientdocument.Check(d.document.ClientID, text) {
		d.notice(f.Text)
	}
	if len(keys) > 0 { // nothing is written before all is known to be well
		if err := d.saveKey(keys[0]); err != nil {
			return err
		}
	}
	return d.out.data(text)
}

// readKey returns the key of the file, or a new one if there is no file.
func (d *documentNew) readKey() (*clientkey.Key, error) {
	_, err := os.Lstat(d.key.JWTKeyFile)
	if !errors.Is(err, fs.ErrNotExist) {
		return d.key.key()
	}
	key, err := clientkey.Generate(d.key.JWTKeyAlg)
	if err != nil {
		return nil, usage("--key-alg: %w", err)
	}
	d.isNew = true
	return key, nil
}

// saveKey writes the JWK set, and the private key if it is new, to files that do not exist yet.
func (d *documentNew) saveKey(key *clientkey.Key) error {
	if d.keySet != "" {
		set := append(clientdocument.KeySet(key), '\n')
		err := createFile(d.keySet, set, 0o644)
		if there, _ := readFile(d.keySet, maxConfig); err != nil && !bytes.Equal(there, set) {
			return usage("the JWK set cannot be written to %s: %w", d.keySet, withoutPath(err))
		}
	}
	if !d.isNew {
		return nil
	}
	private, err := key.RevealPrivatePEM()
	if err != nil {
		return err
	}
	if err := createFile(d.key.JWTKeyFile, private, 0o600); err != nil {
		return usage("the key cannot be written to %s: %w", d.key.JWTKeyFile, withoutPath(err))
	}
	d.shown(d.err).ok("", "Wrote a new private key to %s: only you can read it", d.key.JWTKeyFile)
	return nil
}

// createFile writes a file that must not exist.
func createFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err == nil {
		_, err = f.Write(data)
		err = cmp.Or(err, f.Sync(), f.Close())
	}
	return err
}
