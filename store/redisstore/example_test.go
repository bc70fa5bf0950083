package redisstore_test

import (
	"context"
	"encoding/base64"
	"log"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// The credentials of all users are sealed in one database. Each user has a store of their own.
func Example() {
	ctx := context.Background()
	server := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{os.Getenv("REDIS_ADDRESS")}})
	defer server.Close()
	raw, err := base64.StdEncoding.DecodeString(os.Getenv("STORE_KEY")) // of: head -c 32 /dev/urandom | base64
	if err != nil {
		log.Fatal(err)
	}
	key, err := sealed.NewKey(raw)
	if err != nil {
		log.Fatal(err)
	}

	db, err := redisstore.New(ctx, server, redisstore.Options{
		Keys:     []sealed.Key{key},
		Replicas: 1, // with one replica, which has a value before a write succeeds; without replicas 0
	})
	if err != nil {
		log.Fatal(err) // the server would lose logins, for instance
	}
	ada, err := db.Store(store.Owner{Tenant: "acme", User: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	client := &handstamp.Client{Store: ada, LoginPolicy: handstamp.LoginNever}
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}
