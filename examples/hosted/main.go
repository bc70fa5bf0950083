// Command hosted is a web application whose users connect MCP servers, as any number of replicas
// that share a PostgreSQL database:
//
//	hosted -database "$DATABASE_URL" -listen 127.0.0.1:8080 \
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
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
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
	database := flags.String("database", os.Getenv("DATABASE_URL"), "the PostgreSQL `URL`")
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
	db, closeDatabase, err := open(ctx, *database, derive(secret, "credentials"))
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
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Requests first, then the refreshes that they have begun.
	return errors.Join(server.Shutdown(ending), app.Close(ending))
}

// open returns the database, and what closes it.
func open(ctx context.Context, url string, key []byte) (*pgstore.Database, func(), error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	seal, err := sealed.NewKey(key)
	if err != nil {
		return nil, nil, err
	}
	db, err := pgstore.New(ctx, pool, pgstore.Options{
		Keys: []sealed.Key{seal}, Listen: pool.Config().ConnConfig,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := db.CreateSchema(ctx); err != nil {
		return nil, nil, err
	}
	return db, func() { db.Close(); pool.Close() }, nil
}

// derive returns a key for one purpose.
func derive(secret []byte, purpose string) []byte {
	sum := sha256.Sum256(append([]byte(purpose+"\x00"), secret...))
	return sum[:]
}
