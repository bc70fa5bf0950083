// Command httpclient sends one request to a protected server with net/http alone, and prints
// the response.
//
//	go run ./httpclient https://mcp.example.com/mcp
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store/filestore"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{
	"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"httpclient","version":"1"}}}`

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: httpclient URL")
		os.Exit(2)
	}
	err := run(context.Background(), os.Args[1])
	switch { // the exit codes are those of the command handstamp
	case errors.Is(err, handstamp.ErrUnreachable):
		fmt.Fprintln(os.Stderr, "Try again later; the login is kept:", err)
		os.Exit(3)
	case errors.Is(err, handstamp.ErrLoginRequired):
		fmt.Fprintf(os.Stderr, "Sign in with handstamp login --store file %s: %v\n", os.Args[1], err)
		os.Exit(4)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, serverURL string) error {
	store, err := filestore.User(filestore.Options{})
	if err != nil {
		return err
	}
	auth := &handstamp.Client{Store: store}
	defer auth.Close(context.Background())
	client := auth.HTTPClient(serverURL) // an *http.Client like any other

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, serverURL, strings.NewReader(initialize))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
