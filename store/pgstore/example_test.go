package pgstore_test

import (
	"context"
	"encoding/base64"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// The credentials of all users are sealed in one database. Each user has a store of their own.
func Example() {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.PingTimeout = 5 * time.Second
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	raw, err := base64.StdEncoding.DecodeString(os.Getenv("STORE_KEY")) // of: head -c 32 /dev/urandom | base64
	if err != nil {
		log.Fatal(err)
	}
	key, err := sealed.NewKey(raw)
	if err != nil {
		log.Fatal(err)
	}

	db, err := pgstore.New(ctx, pool, pgstore.Options{
		Keys:   []sealed.Key{key},
		Listen: config.ConnConfig, // behind PgBouncer: one to the server itself
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := db.CreateSchema(ctx); err != nil {
		log.Fatal(err)
	}
	ada, err := db.Store(store.Owner{Tenant: "acme", User: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	client := &handstamp.Client{Store: ada, LoginPolicy: handstamp.LoginNever}
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}
