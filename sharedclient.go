package handstamp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// maxSharedScopes bounds the scopes of a registration that is shared: beyond it, what a server
// names is no longer added.
const maxSharedScopes = 64

// shared returns the records of the registrations that the Client shares with others, nil if each
// credential has its own. There is one for each MCP server, authorization server and redirect URI:
// which scopes a client is registered for is what the MCP server says, and a hostile one must not
// say it for others; and two versions of an application do not take turns in replacing each other's.
func (l *loginClients) shared() *records {
	return l.sharedAt(l.plan.server.Issuer, l.callback.redirectURI)
}

func (c *credential) sharedAt(issuer, redirectURI string) *records {
	if c.config.ClientStore == nil || c.config.Grant != nil {
		return nil
	}
	key, err := store.NewKey(issuer, redirectURI+" "+c.records.key.Server)
	if err != nil {
		return nil
	}
	return &records{
		store: c.config.ClientStore, key: key, serverURL: c.serverURL, timeout: c.config.LockTimeout,
		notice: c.notice, seen: func(*record.Record) {}, events: c.events,
	}
}

// sharedClient returns the shared client, if there is one that can be used for this login.
func (l *loginClients) sharedClient(ctx context.Context, shared *records) *record.Client {
	rec, err := shared.load(ctx)
	if err == nil && secretEnded(rec.NewestClient(l.plan.server.Issuer)) {
		rec, err = l.replaceShared(ctx, shared, rec.NewestClient(l.plan.server.Issuer))
	}
	if err != nil {
		l.events.fail(StepStore, err, "the shared registration cannot be used")
		return nil
	}
	return l.fromShared(rec)
}

// fromShared returns the user's copy of the client in the shared record; nil if there is none that
// can be used. A client that this user's refresh found to be forgotten is replaced for all.
func (l *loginClients) fromShared(rec *record.Record) *record.Client {
	issuer := l.plan.server.Issuer
	c := rec.NewestClient(issuer)
	if c == nil {
		return nil
	}
	copied := usersCopy(c)
	if own := l.rec.Client(issuer, c.ID); own != nil && own.Secret == c.Secret {
		*copied = *own // with what the user's logins have taught
	}
	if !l.canReuse(c) || !l.canReuse(copied) || !l.covers(c) {
		return nil
	}
	if learned := rec.LearnedOf(issuer); len(learned.OmitScopes) > 0 {
		l.omitScopes(learned.OmitScopes)
	}
	return copied
}

// usersCopy returns a shared client as it is in the record of a user, whose grant is bound to it.
// It has nothing with which the registration could be changed or deleted: that would be for all
// users. Only where it is stays, if the server lets it be changed.
func usersCopy(c *record.Client) *record.Client {
	copied := *c
	if !manageable(c) {
		copied.RegistrationClientURI = ""
	}
	copied.RegistrationAccessToken, copied.ScopeRequested = "", ""
	return &copied
}

// isCopy reports whether a client is a copy of a shared one that the server may let change.
func (cfg *configuration) isCopy(c *record.Client) bool {
	return cfg.ClientStore != nil && c.Source == record.SourceDynamic && !c.Rejected &&
		c.RegistrationClientURI != "" && c.RegistrationAccessToken == ""
}

// secretEnded reports whether the secret of a shared client has ended and may be replaced.
func secretEnded(c *record.Client) bool {
	return c != nil && manageable(c) && secretExpired(c, nil, time.Now())
}

// replaceShared has the server issue a new secret for a shared client, unless another process has
// done that meanwhile, and returns the shared record.
func (c *credential) replaceShared(
	ctx context.Context, shared *records, client *record.Client,
) (*record.Record, error) {
	waiting, cancel := awake.WithTimeout(ctx, lockTimeout, errLockTimeout)
	defer cancel()
	issuer, id := client.Issuer, client.ID
	// Not the lock of a refresh: whoever holds that already must not wait for another one.
	unlock, rec, err := shared.lockUnless(waiting, store.LockLogin, func(rec *record.Record) bool {
		return !secretEnded(rec.Client(issuer, id))
	})
	if err != nil {
		return nil, err
	}
	if unlock != nil {
		defer unlock()
	}
	if client = rec.Client(issuer, id); !secretEnded(client) {
		return rec, nil
	}
	of := *c
	of.records = shared
	rec, _, err = of.updateClient(ctx, rec, client, nil)
	return rec, err
}

// copySecret gives a user's copy of a shared client the secret that the shared one has, or gets, in
// place of one that has ended. A copy that gets none is no longer one that could.
func (c *credential) copySecret(
	ctx context.Context, rec *record.Record, client *record.Client,
) (*record.Record, error) {
	from, err := c.sharedNow(ctx, client)
	if err != nil {
		return rec, err
	}
	issuer, id := client.Issuer, client.ID
	return c.records.update(ctx, rec, func(rec *record.Record) error {
		stored := rec.Client(issuer, id)
		switch {
		case stored == nil:
		case from == nil || from.Secret == stored.Secret:
			stored.RegistrationClientURI = ""
		default:
			copied := usersCopy(from)
			stored.Secret, stored.SecretExpiresAt, stored.Response = copied.Secret, copied.SecretExpiresAt, copied.Response
			stored.RegistrationClientURI = copied.RegistrationClientURI
		}
		return nil
	})
}

// covers reports whether a shared client was registered for the scopes of this login, as far as
// another registration would be: some authorization servers grant no others.
func (l *loginClients) covers(c *record.Client) bool {
	registered := strings.Fields(c.ScopeRequested)
	missing := oauth.Without(strings.Fields(l.scope), registered)
	return len(missing) == 0 || len(registered) == 0 || len(registered)+len(missing) > maxSharedScopes
}

// registrationScopes returns the scopes to register for: those of the login, and those that a
// shared registration had before.
func (l *loginClients) registrationScopes() []string {
	scopes := strings.Fields(l.scope)
	return append(scopes, oauth.Without(l.sharedScopes, scopes)...)
}

// sharedNow returns the shared client that a user's is a copy of, with a new secret if it can have
// one; nil if there is none any more. A rejection of the server's is no error.
func (c *credential) sharedNow(
	ctx context.Context, client *record.Client,
) (found *record.Client, err error) {
	for _, uri := range client.RedirectURIs {
		shared := c.sharedAt(client.Issuer, uri)
		if shared == nil {
			return nil, nil
		}
		rec, err := shared.load(ctx)
		if err == nil && secretEnded(rec.Client(client.Issuer, client.ID)) {
			rec, err = c.replaceShared(ctx, shared, client)
		}
		if err != nil && (rec == nil || retryable(err) || errors.Is(err, ErrStore)) {
			return nil, err
		}
		if found = rec.Client(client.Issuer, client.ID); found != nil {
			return found, nil
		}
	}
	return nil, nil
}

// registerOnce registers a client. Of all processes that share the registration one does, and the
// others wait and use it.
func (l *loginClients) registerOnce(ctx context.Context) error {
	shared := l.shared()
	if shared == nil {
		return l.register(ctx)
	}
	waiting, cancel := awake.WithTimeout(ctx, lockTimeout, errLockTimeout)
	defer cancel()
	found := func(rec *record.Record) bool { return l.fromShared(rec) != nil }
	unlock, rec, err := shared.lockUnless(waiting, store.LockLogin, found)
	if err != nil {
		return err
	}
	if unlock != nil {
		defer unlock()
	}
	if l.client = l.fromShared(rec); l.client != nil {
		return l.chooseMethod()
	}
	if old := rec.NewestClient(l.plan.server.Issuer); old != nil {
		l.sharedScopes = strings.Fields(old.ScopeRequested)
	}
	return l.register(ctx)
}

// share stores the client that was just registered for all, and leaves the login the user's copy.
func (l *loginClients) share(ctx context.Context, n *negotiation) error {
	shared := l.shared()
	c := *l.client
	c.ScopeRequested = strings.Join(n.wish.scopes, " ")
	rec, err := shared.load(ctx)
	if err == nil {
		_, err = shared.update(ctx, rec, func(rec *record.Record) error {
			n.keep(rec, &c)
			return nil
		})
	}
	l.client = usersCopy(&c)
	return err
}

// shareLearned stores for all how the client authenticates, once that is known.
func (l *loginClients) shareLearned(ctx context.Context) {
	shared, client := l.shared(), l.client
	if shared == nil || client.Source != record.SourceDynamic {
		return
	}
	rec, err := shared.load(ctx)
	if err == nil {
		_, err = shared.update(ctx, rec, func(rec *record.Record) error {
			c := rec.Client(client.Issuer, client.ID)
			if c == nil || c.Proven {
				return errNothingLearned
			}
			c.Method, c.MethodSource, c.FormID, c.Audience, c.Proven =
				client.Method, client.MethodSource, client.FormID, client.Audience, client.Proven
			return nil
		})
	}
	if err != nil && !errors.Is(err, errNothingLearned) {
		l.events.fail(StepStore, err, "what was learned of the shared client could not be stored")
	}
}

// errNothingLearned ends an update that would change nothing.
var errNothingLearned = errors.New("handstamp: nothing was learned")

// rejectShared marks the shared client as one that the server no longer knows, where this user's
// is a copy of it.
func (l *loginClients) rejectShared(ctx context.Context, reject func(*record.Record) error) error {
	shared := l.shared()
	if shared == nil {
		return nil
	}
	rec, err := shared.load(ctx)
	known := func(c *record.Client) bool { return c.ID == l.unknownClientID }
	if err == nil && slices.ContainsFunc(rec.Clients, known) {
		_, err = shared.update(ctx, rec, reject)
	}
	return err
}
