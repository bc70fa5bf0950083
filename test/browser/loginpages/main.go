// Command loginpages serves the pages that a login ends at and that a browser test could not get in
// time from the command: it prints a line of JSON with the address of each, and serves them until
// its standard input ends.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/handstamp/handstamp/internal/loopback"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "loginpages:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	pages := make(map[string]string)
	for _, name := range []string{"expired", "stranger", "unbound", "unfinished"} {
		l, err := loopback.Listen(ctx, loopback.Options{Accept: accept,
			Application: "Handstamp", Server: "mcp.example.com/mcp"})
		if err != nil {
			return err
		}
		defer l.Close()
		query := "?code=c&state=good"
		switch name {
		case "expired":
			over, cancel := context.WithCancel(ctx)
			cancel()
			_, _ = l.Wait(over)
		case "stranger":
			query = "?code=c&state=other"
		case "unbound":
			query = "?error=access_denied"
		case "unfinished":
			go func() {
				_, _ = l.Wait(ctx)
				_ = l.Close()
			}()
		}
		pages[name] = l.RedirectURI() + query
	}
	if err := json.NewEncoder(os.Stdout).Encode(pages); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// accept expects the state "good".
func accept(params url.Values) error {
	switch {
	case params.Get("state") == "good":
		return nil
	case params.Get("state") == "" && params.Get("error") != "":
		return &loopback.UnboundError{Code: params.Get("error")}
	}
	return fmt.Errorf("%w: %w", errors.New("another state"), loopback.ErrIgnore)
}
