// Package hosted signs the users of an application in to MCP servers, where the application runs as
// any number of replicas and its users are many.
//
//	app := &hosted.App{Database: db} // of pgstore or redisstore
//	client, err := app.Client(store.Owner{Tenant: "acme", User: "ada"})
//	httpClient := client.HTTPClient("https://mcp.example.com/mcp")
package hosted

import (
	"context"
	"errors"
	"sync"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
)

// App is an application with many users. Its fields may be changed until the first method call; all
// methods are safe for concurrent use. Several Apps, in any number of replicas, share a Database.
type App struct {
	// Database keeps what the users have. If it is a [store.Watcher], as pgstore's is, a Client whose
	// login another replica has refreshed or removed reads it before its next request.
	Database store.Database

	// Configure sets a new Client up, before its first use: the name of the application, a logger,
	// whatever the users have in common. Nil: the Client's zero value. The App sets Store, and
	// LoginPolicy to [handstamp.LoginNever]: a replica has no browser of the user's.
	Configure func(o store.Owner, c *handstamp.Client)

	// CacheSize is how many users' Clients are kept, with the tokens that were used last. Zero is
	// 10,000, which take less than 100 MiB.
	CacheSize int

	watcher watcher

	mu     sync.Mutex
	cache  cache // guarded by mu
	closed bool  // guarded by mu
}

const defaultCacheSize = 10_000

// errClosed is what a closed App returns.
var errClosed = errors.New("hosted: the App is closed")

// Client returns the Client of a user, the same one as long as it is kept. Do not close it, and do
// not keep it for longer than a request: what was evicted meanwhile goes on working, but another
// Client then has the same user.
func (a *App) Client(o store.Owner) (*handstamp.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosed
	}
	a.watch()
	if c := a.cache.get(o); c != nil {
		return c, nil
	}
	s, err := a.Database.Store(o)
	if err != nil {
		return nil, err
	}
	c := new(handstamp.Client)
	if a.Configure != nil {
		a.Configure(o, c)
	}
	c.Store, c.LoginPolicy = s, handstamp.LoginNever
	size := a.CacheSize
	if size <= 0 {
		size = defaultCacheSize
	}
	a.cache.add(o, c, size)
	return c, nil
}

// Close closes the Clients, as [handstamp.Client.Close] does, and waits for refreshes under way
// until ctx ends.
func (a *App) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	clients := a.cache.all()
	a.mu.Unlock()
	a.watcher.close()
	errs := make([]error, 0, len(clients))
	for _, c := range clients {
		errs = append(errs, c.Close(ctx))
	}
	return errors.Join(errs...)
}
