// Package hosted signs the users of an application in to MCP servers, where the application runs as
// any number of replicas and its users are many.
//
//	app := &hosted.App{
//		Database:    db, // of pgstore or redisstore
//		CallbackURL: "https://app.example.com/oauth/callback",
//	}
//
//	login, err := app.Begin(ctx, owner, serverURL, hosted.BeginOptions{Session: session})
//	http.Redirect(w, r, login.URL, http.StatusSeeOther) // to the authorization server, and back to:
//	mux.Handle("GET /oauth/callback/", app.Callback(sessionOf, nil)) // on every replica
//
//	client, err := app.Client(owner) // from then on
//	httpClient := client.HTTPClient(serverURL)
//
// The example is a web application:
// https://pkg.go.dev/github.com/handstamp/handstamp/hosted#pkg-examples
package hosted

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientdocument"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/store"
)

// App is an application with many users. Its fields may be changed until the first method call; all
// methods are safe for concurrent use. Several Apps, in any number of replicas, may share a
// database. Each needs a Database value of its own: a [store.Watcher] reports what others have changed.
//
// In addition to what the users have, the Database keeps what the application has: logins that wait for
// their users, and clients that were registered. The owner of these is a user of the App's own,
// whose name is reserved: it begins with "handstamp:".
type App struct {
	// Database keeps what the users have. If it is a [store.Watcher], as those of pgstore and
	// redisstore are, a Client whose login another replica has refreshed or removed reads it before
	// its next request. Nil: in memory, for this App alone.
	Database store.Database

	// CallbackURL is the URL at which browsers reach the handler of [App.Callback], which has all paths
	// below it, too. It is the redirect URI of the application's clients. Where the application
	// registers itself at an authorization server that sends no iss (RFC 9207), the redirect URI is one
	// below it, which that server alone has. CallbackURL has to be the same in all replicas.
	CallbackURL string

	// Configure sets a new Client up, before its first use, and may be called by several goroutines:
	// the name of the application, a logger, whatever the users have in common. UntrustedServers is
	// set before: servers have to be at public addresses, unless Configure sets
	// InsecureAllowPrivateAddresses, or trusts the URLs of servers and sets UntrustedServers to
	// false. Nil: no more is set up. The App sets Store, ClientStore, RedirectURI, and LoginPolicy to
	// [handstamp.LoginNever]: a replica has no browser of the user's. It adds tenant and user to each
	// record for Audit.
	Configure func(o store.Owner, c *handstamp.Client)

	// ClientsPerTenant registers a client of each MCP server for each tenant. False: one for all
	// users of the application.
	ClientsPerTenant bool

	// CacheSize is how many users' Clients are kept, with the tokens that were used last. Zero is
	// 10,000, which take less than 100 MiB.
	CacheSize int

	// What each request of a user reads, side by side in memory.
	watcher watcher
	mu      sync.Mutex
	closed  bool  // guarded by mu
	usage   usage // guarded by mu
	cache   cache // guarded by mu

	sweep  sweep // guarded by mu
	memory store.MemoryDatabase
}

const defaultCacheSize = 10_000

// invalid returns the error of an argument or a field that cannot work.
func invalid(message string) error {
	return &handstamp.Error{Kind: handstamp.ErrInvalidConfig, Message: message}
}

// CheckOwner returns an error for names that no user can have: those that [store.Owner.Check] rejects,
// and those of the App's own. It is for names that come from outside the application.
func CheckOwner(o store.Owner) error {
	if err := checkReserved(o); err != nil {
		return err
	}
	return o.Check()
}

// Client returns the Client of a user, the same one as long as it is kept. Do not close it, and call
// Client again for each request or MCP session: a Client that was evicted goes on working, but takes
// memory beyond CacheSize, and [App.RefreshAhead] does not count its use. The error of a closed App is
// [handstamp.ErrClosed].
func (a *App) Client(o store.Owner) (*handstamp.Client, error) {
	if err := checkReserved(o); err != nil {
		return nil, err
	}
	c, err := a.keptOr(o, nil)
	if c != nil || err != nil {
		return c, err
	}
	e, err := a.newEntry(o)
	if err != nil {
		return nil, err
	}
	return a.keptOr(o, e)
}

// keptOr returns the Client of a user that is kept, and else a new one, which is kept from then on,
// unless it is nil. It is not a.mu's holder who makes that one: Configure may take its time.
func (a *App) keptOr(o store.Owner, e *entry) (*handstamp.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, &handstamp.Error{Kind: handstamp.ErrClosed, Message: "the App is closed"}
	}
	a.watch()
	if kept := a.cache.get(o); kept != nil {
		a.noteUse(kept)
		return &kept.client, nil
	}
	if e == nil {
		return nil, nil
	}
	size := a.CacheSize
	if size <= 0 {
		size = defaultCacheSize
	}
	evicted := a.cache.add(e, size)
	a.noteUse(e)
	if evicted != nil {
		a.noteEvicted(evicted)
		// What still uses it keeps it alive, a refresh under way as well: Close waits for that.
		id := evicted.owner.ID()
		forget := func(p weak.Pointer[handstamp.Client]) { a.forget(id, p) }
		runtime.AddCleanup(&evicted.client, forget, weak.Make(&evicted.client))
	}
	return &e.client, nil
}

// newEntry returns a new Client of a user.
func (a *App) newEntry(o store.Owner) (*entry, error) {
	s, err := a.database().Store(o)
	if err != nil {
		return nil, err
	}
	clients, err := a.database().Store(a.clientsOwner(o))
	if err != nil {
		return nil, err
	}
	e := &entry{owner: o}
	c := &e.client
	c.UntrustedServers = true
	if a.Configure != nil {
		a.Configure(o, c)
	}
	c.Store, c.ClientStore, c.LoginPolicy = s, clients, handstamp.LoginNever
	c.RedirectURI = a.CallbackURL
	if c.Audit != nil {
		c.Audit = c.Audit.WithAttrs([]slog.Attr{
			slog.String(handstamp.AuditTenant, o.Tenant), slog.String(handstamp.AuditUser, o.User),
		})
	}
	return e, nil
}

// forget is [cache.forget] for the runtime, which holds no mutex.
func (a *App) forget(id string, p weak.Pointer[handstamp.Client]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cache.forget(id, p)
}

// database returns where everything is kept.
func (a *App) database() store.Database {
	if a.Database == nil {
		return &a.memory
	}
	return a.Database
}

// Connections returns the status of every server that a user has signed in to, ordered by server.
// It sends no request to any of them.
func (a *App) Connections(ctx context.Context, o store.Owner) ([]*handstamp.Status, error) {
	c, err := a.Client(o)
	if err != nil {
		return nil, err
	}
	all, err := c.List(ctx)
	return slices.DeleteFunc(all, func(s *handstamp.Status) bool { return s.State == handstamp.StateNone }), err
}

// Disconnect revokes a user's tokens at a server's authorization server, and forgets them. See
// [handstamp.Client.Logout]. The client that the users have in common stays.
func (a *App) Disconnect(
	ctx context.Context, o store.Owner, serverURL string,
) (*handstamp.LogoutResult, error) {
	c, err := a.Client(o)
	if err != nil {
		return nil, err
	}
	result, err := c.Logout(ctx, serverURL, handstamp.LogoutOptions{})
	a.ownChange(o)
	return result, err
}

// ClientDocument returns a handler of the client ID metadata document with which the application
// introduces itself, in place of registrations, and of the JWK set, if the document has a
// jwks_uri. The redirect URI is CallbackURL, unless the document has others. Configure has to give
// the Clients the same: ClientMetadataURL is the document's ClientID, and Key one of the keys.
func (a *App) ClientDocument(
	d clientdocument.Document, keys ...*clientkey.Key,
) (http.Handler, error) {
	if len(d.RedirectURIs) == 0 {
		d.RedirectURIs = []string{a.CallbackURL}
	}
	d.Complete(keys...)
	return clientdocument.Handler(d, clientdocument.KeySet(keys...))
}

// Close closes the Clients, as [handstamp.Client.Close] does, and waits for refreshes under way
// until ctx ends, those of Clients that were evicted as well.
func (a *App) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	clients := a.cache.all()
	swept := a.sweep.stop()
	a.mu.Unlock()
	a.watcher.close()
	a.flushUse(ctx)
	errs := make([]error, 0, len(clients))
	for _, c := range clients {
		errs = append(errs, c.Close(ctx))
	}
	select {
	case <-swept:
	case <-ctx.Done():
		errs = append(errs, ctx.Err())
	}
	return errors.Join(errs...)
}

func (a *App) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// cached returns the Client of a user if it is kept, and else nil.
func (a *App) cached(o store.Owner) *handstamp.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cache.peek(o)
}

// now is the time, without a monotonic reading: it is compared with what other replicas wrote.
func now() time.Time { return time.Now().UTC().Round(0) }
