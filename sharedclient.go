package handstamp

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// maxSharedScopes bounds the scopes of a registration that is shared: beyond it, what a server
// names is no longer added.
const maxSharedScopes = 64

// sharedRegistration is the registration at the authorization server of a login that the Client
// shares with others. There is one for each MCP server, authorization server and redirect URI: the
// scopes that a client is registered for are those that the MCP server names, and a hostile one must
// not name them for others; and two versions of an application do not take turns in replacing each
// other's.
type sharedRegistration struct {
	stored  *records
	clients *loginClients
}

// shared returns the registration that the Client shares with others, nil if each credential has its
// own.
func (l *loginClients) shared() *sharedRegistration {
	stored := sharedRecords(l.credential, l.plan.server.Issuer, l.callback.redirectURI)
	if stored == nil {
		return nil
	}
	return &sharedRegistration{clients: l, stored: stored}
}

// sharedRecords returns where a shared registration is kept; nil if the credential has its own.
func sharedRecords(c *credential, issuer, redirectURI string) *records {
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

// lockShared is lockUnless for the registration that is kept there, of which another process may not
// come to an end. It is not the lock of a refresh: whoever holds that already must not wait for
// another one.
func lockShared(
	ctx context.Context, shared *records, enough func(*record.Record) bool,
) (unlock func(), rec *record.Record, err error) {
	waiting, cancel := awake.WithTimeout(ctx, lockTimeout, errLockTimeout)
	defer cancel()
	unlock, rec, err = shared.lockUnless(waiting, store.LockLogin, enough)
	if err != nil && errors.Is(context.Cause(waiting), errLockTimeout) {
		err = &Error{Kind: ErrUnreachable, Server: shared.serverURL, Hint: "try again",
			Message: "the application's client cannot be used yet",
			Err:     &oauth.TransientError{Reason: "another process has been registering the client for too long"}}
	}
	return unlock, rec, err
}

// client returns the shared client, if there is one that can be used for the login.
func (s *sharedRegistration) client(ctx context.Context) *record.Client {
	l := s.clients
	rec, err := s.stored.load(ctx)
	if err == nil && secretEnded(rec.NewestClient(l.plan.server.Issuer)) {
		rec, err = replaceSharedSecret(ctx, l.credential, s.stored, rec.NewestClient(l.plan.server.Issuer))
	}
	if err != nil {
		l.events.fail(StepStore, err, "the shared registration cannot be used")
		return nil
	}
	return s.fitting(rec)
}

// fitting returns the user's copy of the client in the shared record; nil if there is none that
// can be used. A client that this user's refresh found to be forgotten is replaced for all.
func (s *sharedRegistration) fitting(rec *record.Record) *record.Client {
	l := s.clients
	issuer := l.plan.server.Issuer
	c := rec.NewestClient(issuer)
	if c == nil {
		return nil
	}
	copied := usersCopy(c)
	if own := l.rec.Client(issuer, c.ID); own != nil && own.Secret == c.Secret {
		*copied = *own // with what the user's logins have taught
	}
	if !l.canReuse(c) || !l.canReuse(copied) || !coversScope(c, l.scope) {
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

// coversScope reports whether a shared client was registered for the scopes of a login, as far as
// another registration would be: some authorization servers grant no others.
func coversScope(c *record.Client, scope string) bool {
	registered := strings.Fields(c.ScopeRequested)
	missing := oauth.Without(strings.Fields(scope), registered)
	return len(missing) == 0 || len(registered) == 0 || len(registered)+len(missing) > maxSharedScopes
}

// put stores the client that was just registered, and returns the user's copy for the login.
func (s *sharedRegistration) put(
	ctx context.Context, registered *record.Client, n *negotiation,
) (*record.Client, error) {
	c := *registered
	c.ScopeRequested = strings.Join(n.wish.scopes, " ")
	rec, err := s.stored.load(ctx)
	if err == nil {
		_, err = s.stored.update(ctx, rec, func(rec *record.Record) error {
			n.keep(rec, &c)
			return nil
		})
	}
	return usersCopy(&c), err
}

// learn stores how a client authenticates, once that is known.
func (s *sharedRegistration) learn(ctx context.Context, client *record.Client) {
	if s == nil || client.Source != record.SourceDynamic {
		return
	}
	rec, err := s.stored.load(ctx)
	if err == nil {
		_, err = s.stored.update(ctx, rec, func(rec *record.Record) error {
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
		s.clients.events.fail(StepStore, err, "what was learned of the shared client could not be stored")
	}
}

// errNothingLearned ends an update that would change nothing.
var errNothingLearned = errors.New("handstamp: nothing was learned")

// reject marks the client with an ID as one that the server no longer knows, where a user's is a
// copy of it.
func (s *sharedRegistration) reject(
	ctx context.Context, id string, reject func(*record.Record) error,
) error {
	if s == nil {
		return nil
	}
	rec, err := s.stored.load(ctx)
	known := func(c *record.Client) bool { return c.ID == id }
	if err == nil && slices.ContainsFunc(rec.Clients, known) {
		_, err = s.stored.update(ctx, rec, reject)
	}
	return err
}
