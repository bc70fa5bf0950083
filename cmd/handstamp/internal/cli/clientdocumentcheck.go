package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/handstamp/handstamp/clientdocument"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/spf13/cobra"
)

// documentCheck is handstamp client-document check.
type documentCheck struct {
	*app
	key authSettings
}

func (a *app) newDocumentCheck() *cobra.Command {
	d := &documentCheck{app: a}
	cmd := &cobra.Command{
		Use:   "check <url or file>",
		Short: "Check a document where it is served, or a file",
		Long: `Check a client ID metadata document, and the JWK set that it names: at its URL, as
authorization servers fetch it, or in a file, before it is published. With --key it
is checked whether servers find that key.

The exit code is 6 if servers must reject the document, 0 otherwise.`,
		Args: exactly(1, "a URL or a file"),
		RunE: withArgs(d.run),
	}
	cmd.Flags().StringVar(&d.key.JWTKeyFile, "key", "", "file with the client's private key")
	return cmd
}

// documentFinding is what --json prints of a [clientdocument.Finding].
type documentFinding struct {
	Error bool   `json:"error"`
	Text  string `json:"text"`
}

type documentOutput struct {
	Location string            `json:"location"`
	Findings []documentFinding `json:"findings"`
}

func (o *documentOutput) add(prefix string, findings []clientdocument.Finding) {
	for _, f := range findings {
		o.Findings = append(o.Findings, documentFinding{f.Error, prefix + f.Text})
	}
}

func (d *documentCheck) run(ctx context.Context, args []string) error {
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	out := &documentOutput{Location: args[0], Findings: []documentFinding{}}
	text, err := d.read(ctx, out)
	if err != nil {
		return err
	}
	var document clientdocument.Document
	_ = json.Unmarshal(text, &document) // Check reports what is wrong with it
	location := args[0]
	if !strings.Contains(location, "://") {
		location = document.ClientID
	}
	out.add("", clientdocument.Check(location, text))
	if err := d.checkKeys(ctx, out, document); err != nil {
		return err
	}
	err = d.print(out, func() { d.show(out) })
	for _, f := range out.Findings {
		if f.Error {
			return errors.Join(err, ended(exitProtocol))
		}
	}
	return err
}

// read returns the document, from a URL or a file.
func (d *documentCheck) read(ctx context.Context, out *documentOutput) ([]byte, error) {
	if strings.Contains(out.Location, "://") {
		return d.fetch(ctx, out, "", out.Location)
	}
	text, err := readFile(out.Location, maxConfig)
	if err != nil {
		return nil, usage("the file %s cannot be read: %w", out.Location, err)
	}
	return text, nil
}

// checkKeys checks the JWK set that a document names, and whether the key is published.
func (d *documentCheck) checkKeys(
	ctx context.Context, out *documentOutput, document clientdocument.Document,
) error {
	set := []byte(document.JWKS)
	if document.JWKSURI != "" && strings.Contains(out.Location, "://") {
		var err error
		if set, err = d.fetch(ctx, out, "jwks_uri: ", document.JWKSURI); err != nil {
			return err
		}
		out.add("jwks_uri: ", clientdocument.CheckKeySet(set, document.TokenEndpointAuthAlg))
	}
	key, err := d.key.key()
	if err != nil || key == nil {
		return err
	}
	if len(set) == 0 {
		out.add("", []clientdocument.Finding{{Error: true, Text: "the document publishes no key"}})
	} else if err := clientdocument.CheckKey(key, set); err != nil {
		out.add("", []clientdocument.Finding{{Error: true, Text: err.Error()}})
	}
	return nil
}

// fetch returns what is served at a URL, and notes what is wrong with the response.
func (d *documentCheck) fetch(
	ctx context.Context, out *documentOutput, prefix, url string,
) ([]byte, error) {
	if err := oauth.CheckEndpoint(url); err != nil {
		return nil, usage("%s cannot be fetched: %w", clean(url), err)
	}
	transport, err := d.transport(d.global.connection)
	if err != nil {
		return nil, err
	}
	if transport == nil {
		transport = http.DefaultTransport
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, usage("%w", err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := transport.RoundTrip(req) // which follows no redirect
	if err == nil {
		defer resp.Body.Close()
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(resp.Body, maxConfig)); err == nil {
			out.add(prefix, clientdocument.CheckResponse(resp.StatusCode, resp.Header))
			return text, nil
		}
	}
	return nil, &failure{kind: kindUnreachable, message: clean(url) + " cannot be fetched", err: err}
}

func (d *documentCheck) show(out *documentOutput) {
	for _, f := range out.Findings {
		mark := d.out.warn
		if f.Error {
			mark = d.out.bad
		}
		mark("", "%s", capital(clean(f.Text)))
	}
	if len(out.Findings) == 0 {
		d.out.ok("", "%s is a document that servers take", out.Location)
	}
}
