package main

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/redisstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// open returns the database behind a URL, and what closes it.
func open(ctx context.Context, url string, key sealed.Key) (store.Database, func(), error) {
	for _, scheme := range []string{"redis://", "rediss://", "unix://"} {
		if strings.HasPrefix(url, scheme) {
			return openRedis(ctx, url, key)
		}
	}
	return openPostgres(ctx, url, key)
}

func openPostgres(
	ctx context.Context, url string, key sealed.Key,
) (store.Database, func(), error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, nil, err
	}
	// A server that does not respond, or has vanished, must not keep the pool's connections.
	config.ConnConfig.ConnectTimeout, config.PingTimeout = 10*time.Second, 2*time.Second
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	db, err := pgstore.New(ctx, pool, pgstore.Options{
		Keys: []sealed.Key{key}, Listen: pool.Config().ConnConfig,
	})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	closeAll := func() { db.Close(); pool.Close() }
	if err := db.CreateSchema(ctx); err != nil {
		closeAll()
		return nil, nil, err
	}
	return db, closeAll, nil
}

func openRedis(
	ctx context.Context, url string, key sealed.Key,
) (store.Database, func(), error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, nil, err
	}
	client := redis.NewClient(options)
	db, err := redisstore.New(ctx, client, redisstore.Options{Keys: []sealed.Key{key}})
	if err != nil {
		_ = client.Close()
		return nil, nil, err
	}
	return db, func() { _ = client.Close() }, nil
}
