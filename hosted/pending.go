package hosted

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// pendingLife is how long a login waits for its user.
const pendingLife = 10 * time.Minute

// Errors of a callback; test with errors.Is. The text names what the user can do.
var (
	// ErrNoPendingLogin: no login waits for this callback. It was completed before, or begun more
	// than ten minutes ago, or the callback is none of this application's.
	ErrNoPendingLogin = errors.New("no sign-in is waiting for this page; " +
		"go back to the application and start again")

	// ErrOtherSession: the login was begun in another session. An attacker may have sent the user
	// here, to have them use an account that is not theirs; or the user has signed out meanwhile, or
	// continues in another browser. The login goes on waiting for its own session.
	ErrOtherSession = errors.New("this sign-in was started in another browser or session; " +
		"go back to the application in this browser and start again")
)

// pending is a login that waits for its user, as the Database keeps it.
type pending struct {
	Tenant    string    `json:"tenant"`
	User      string    `json:"user"`
	Server    string    `json:"server"`
	ReturnTo  string    `json:"return_to"`
	Session   []byte    `json:"session"` // the hash of the application's value
	ExpiresAt time.Time `json:"expires_at"`

	// RedirectURI is where the response has to come.
	RedirectURI string `json:"redirect_uri"`

	// Login is what the library continues with; empty once the login was continued.
	Login string `json:"login,omitempty"`
}

func (p *pending) suspended() secret.String { return secret.String(p.Login) }

func (p *pending) owner() store.Owner { return store.Owner{Tenant: p.Tenant, User: p.User} }

// The names of the App's own users: they own the logins that wait, and the clients.
const (
	reservedPrefix = "handstamp:"
	pendingUser    = reservedPrefix + "logins"
	clientsUser    = reservedPrefix + "clients"
)

// checkReserved returns an error for an owner that is one of the App's own.
func checkReserved(o store.Owner) error {
	if strings.HasPrefix(o.User, reservedPrefix) {
		return invalid(`a user's name must not begin with "` + reservedPrefix + `"`)
	}
	return nil
}

// clientsOwner returns who has the clients that a user's logins use.
func (a *App) clientsOwner(o store.Owner) store.Owner {
	if a.ClientsPerTenant {
		return store.Owner{Tenant: o.Tenant, User: clientsUser}
	}
	return store.Owner{User: clientsUser}
}

// pendingStore returns where the logins wait: those of all tenants, since a callback has nothing
// but its state.
func (a *App) pendingStore() (store.Store, error) {
	return a.database().Store(store.Owner{User: pendingUser})
}

// pendingServer begins the server of the key of a login that waits. What follows is the period of
// time in which it was begun, by which it is found once it is old.
const pendingServer = "https://login.invalid/"

// pendingKey returns the key of a login with a state that was begun in a period. It does not show
// the state: who can list the keys cannot complete logins.
func pendingKey(state string, period int64) store.Key {
	sum := sha256.Sum256([]byte(state))
	return store.Key{
		Server:  pendingServer + strconv.FormatInt(period, 10),
		Profile: hex.EncodeToString(sum[:]),
	}
}

// periodOf returns the period that a time is in.
func periodOf(t time.Time) int64 { return t.Unix() / int64(pendingLife/time.Second) }

// suspend keeps a login until its callback comes.
func (a *App) suspend(ctx context.Context, p pending, step *handstamp.LoginStep) error {
	s, err := a.pendingStore()
	if err != nil {
		return err
	}
	p.Login, p.ExpiresAt = step.Suspended.Reveal(), now().Add(pendingLife)
	p.RedirectURI = step.Request.RedirectURI
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = s.Put(ctx, pendingKey(step.Request.State, periodOf(now())), value, "")
	return err
}

// take returns the login that waits for a state, for the session that began it, and no other caller
// gets it again.
func (a *App) take(ctx context.Context, state, session string) (*pending, error) {
	s, err := a.pendingStore()
	if err != nil {
		return nil, err
	}
	key, value, revision, err := find(ctx, s, state)
	if err != nil {
		return nil, err
	}
	p := new(pending)
	if err := json.Unmarshal(value, p); err != nil {
		return nil, fmt.Errorf("%w: it cannot be read", store.ErrCorrupt)
	}
	switch {
	case session == "" || subtle.ConstantTimeCompare(p.Session, hashOf(session)) != 1:
		return nil, ErrOtherSession
	case p.Login == "":
		return nil, fmt.Errorf("it was completed already: %w", ErrNoPendingLogin)
	case now().After(p.ExpiresAt):
		return nil, fmt.Errorf("it has waited for too long: %w", ErrNoPendingLogin)
	}
	// Not Delete, which succeeds for two callers: of two that write, one gets a conflict.
	used := *p
	used.Login = ""
	if value, err = json.Marshal(used); err != nil {
		return nil, err
	}
	_, err = s.Put(ctx, key, value, revision)
	if errors.Is(err, store.ErrConflict) {
		return nil, fmt.Errorf("it was completed already: %w", ErrNoPendingLogin)
	}
	return p, err
}

// find reads the login of a state. It was begun in this period or the one before; in the next, if
// the clock of another replica is ahead.
func find(ctx context.Context, s store.Store, state string) (
	key store.Key, value []byte, revision store.Revision, err error,
) {
	period := periodOf(now())
	for _, p := range []int64{period, period - 1, period + 1} {
		key = pendingKey(state, p)
		value, revision, err = s.Get(ctx, key)
		if !errors.Is(err, store.ErrNotFound) {
			return key, value, revision, err
		}
	}
	return key, nil, "", ErrNoPendingLogin
}

// hashOf returns what is kept of the application's value: a session's id opens the session.
func hashOf(session string) []byte {
	sum := sha256.Sum256([]byte("handstamp session\x00" + session))
	return sum[:]
}
