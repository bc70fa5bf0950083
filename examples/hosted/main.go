// Command hosted is a web application whose users connect MCP servers, as any number of replicas
// that share a database, PostgreSQL or Redis:
//
//	export HOSTED_SECRET=… DATABASE_URL=… # the same for all replicas
//	hosted -listen 127.0.0.1:8080 \
//	  -callback https://app.example.com/oauth/callback https://mcp.example.com/mcp
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "hosted:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("hosted", flag.ContinueOnError)
	database := flags.String("database", os.Getenv("DATABASE_URL"),
		"the `URL` of PostgreSQL (postgres://…) or Redis (redis://…)")
	listen := flags.String("listen", "127.0.0.1:0", "the `address` to listen at")
	callback := flags.String("callback", "", "the `URL` of the callback, the same for all replicas")
	if err := flags.Parse(args); err != nil {
		return err
	}
	secret, err := hex.DecodeString(os.Getenv("HOSTED_SECRET"))
	if err != nil || len(secret) != 32 {
		return errors.New("HOSTED_SECRET has to be 64 hexadecimal digits, " +
			"the same for all replicas: openssl rand -hex 32")
	}
	key, err := sealed.NewKey(derive(secret, "credentials"))
	if err != nil {
		return err
	}
	db, closeDatabase, err := open(ctx, *database, key)
	if err != nil {
		return err
	}
	defer closeDatabase()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	here := "http://" + listener.Addr().String()
	if *callback == "" { // one replica
		*callback = here + "/oauth/callback"
	}
	app := &hosted.App{
		Database:    db,
		CallbackURL: *callback,
		Configure: func(_ store.Owner, c *handstamp.Client) {
			c.ClientName = "Example"
			c.UntrustedServers = false // those of the command line are offered, and no others
		},
	}
	site := &site{app: app, servers: flags.Args(), sessions: sessions{key: derive(secret, "sessions")}}
	server := &http.Server{Handler: site.handler(), ReadHeaderTimeout: 10 * time.Second}
	// For whoever has started it: with -listen :0 only this says where it is.
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"url": here}); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	var ahead sync.WaitGroup
	if _, ok := db.(store.Scheduler); ok { // PostgreSQL; with Redis each request refreshes by itself
		ahead.Go(func() { _ = app.RefreshAhead(ctx, hosted.AheadOptions{}) })
	}
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Requests first, then the refreshes that they have begun, then those ahead of requests.
	err = errors.Join(err, server.Shutdown(ending), app.Close(ending))
	ahead.Wait()
	return err
}

// derive returns a key for one purpose.
func derive(secret []byte, purpose string) []byte {
	sum := sha256.Sum256(append([]byte(purpose+"\x00"), secret...))
	return sum[:]
}
