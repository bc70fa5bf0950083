package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// keysNone as the name of the key file keeps what is in a database in the clear.
const keysNone = "none"

// isDatabase reports whether a value of --store names a database.
func isDatabase(word string) bool {
	scheme, _, ok := strings.Cut(word, "://")
	return ok && isPostgres(scheme)
}

func isPostgres(scheme string) bool {
	return strings.EqualFold(scheme, "postgres") || strings.EqualFold(scheme, "postgresql")
}

// databaseWord returns the URL of a database as pgx takes it, which compares the scheme exactly.
func databaseWord(word string) string {
	scheme, rest, _ := strings.Cut(word, "://")
	return strings.ToLower(scheme) + "://" + rest
}

// databaseAddress is the URL of a database. net/url takes no list of hosts, which one may have.
type databaseAddress struct {
	*url.URL
	hosts string
}

// parseAddress reports false where a part of the address may be a password.
func parseAddress(word string) (u databaseAddress, ok bool) {
	scheme, rest, _ := strings.Cut(word, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	user := rest[:strings.LastIndex(rest[:end], "@")+1]
	u.hosts = rest[len(user):end]
	var err error
	u.URL, err = url.Parse(scheme + "://" + user + "host" + rest[end:])
	// A password with a slash or another of these characters goes on beyond them.
	ambiguous := strings.Contains(u.hosts, ":") && strings.Contains(rest[end:], "@")
	return u, err == nil && !ambiguous
}

// secretSettings are the settings in the query of a URL that must not be shown.
var secretSettings = []string{"password", "sslpassword"}

// hasPassword reports whether the URL of a database has a password.
func hasPassword(word string) bool {
	if !isDatabase(word) {
		return false
	}
	u, ok := parseAddress(word)
	if !ok {
		return true // nothing is known of it
	}
	_, has := u.User.Password()
	return has || slices.ContainsFunc(secretSettings, u.Query().Has)
}

// database is PostgreSQL with the credentials of tenants and users.
type database struct {
	*pgstore.Database
	pool *pgxpool.Pool
}

func (d *database) close() {
	d.Close()
	d.pool.Close()
}

// openDatabase connects to a database, and creates what is missing in it.
func (a *app) openDatabase(ctx context.Context, word string) (*database, error) {
	keys, err := a.databaseKeys()
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(word)
	switch {
	case err == nil:
	case hasPassword(word): // of which the error may repeat a part
		return nil, usage("the URL of the database cannot be used: %s", withoutPassword(word))
	default:
		return nil, usage("the URL of the database cannot be used: %w", err)
	}
	config.ConnConfig.ConnectTimeout = cmp.Or(config.ConnConfig.ConnectTimeout, databaseTimeout)
	config.PingTimeout = cmp.Or(config.PingTimeout, pingTimeout)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, databaseFailure(err)
	}
	db, err := pgstore.New(ctx, pool, pgstore.Options{
		Keys: keys, Listen: pool.Config().ConnConfig, Poll: databasePoll,
	})
	if err != nil {
		pool.Close()
		return nil, databaseFailure(err)
	}
	d := &database{db, pool}
	if err := d.CreateSchema(ctx); err != nil {
		d.close()
		return nil, databaseFailure(err)
	}
	return d, nil
}

// databasePoll is how long a service may not notice, behind PgBouncer, what other processes change.
const databasePoll = 10 * time.Second

// databaseTimeout bounds the wait for a connection.
const databaseTimeout = 10 * time.Second

// pingTimeout bounds the trial of a connection that was idle, whose server may have vanished.
const pingTimeout = 2 * time.Second

func databaseFailure(err error) error {
	return &failure{kind: kindStore, message: "the database cannot be used", err: err,
		hint: "check the URL, and that the role may use the tables of Handstamp in it"}
}

// databaseKeys returns the keys of the key file: the first one seals, and all of them open.
func (a *app) databaseKeys() ([]sealed.Key, error) {
	name := cmp.Or(a.env.get("HANDSTAMP_STORE_KEY_FILE"), a.conf.StoreKeyFile)
	switch name {
	case "":
		return nil, storeFailure("no key file is named that seals the logins in the database",
			"set HANDSTAMP_STORE_KEY_FILE to a file with 32 random bytes in base64, or to none "+
				"to keep tokens in the clear")
	case keysNone:
		return nil, nil
	}
	path := a.absolute(name)
	text, err := readRegular(path, maxConfig)
	if err != nil {
		return nil, &failure{kind: kindStore, message: "the key file " + path + " cannot be used",
			err: err, hint: keyFileHint(path)}
	}
	if err := checkPrivate("key file", path); err != nil {
		return nil, err
	}
	var keys []sealed.Key
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(string(line))
		if err == nil {
			var key sealed.Key
			key, err = sealed.NewKey(raw)
			keys = append(keys, key)
		}
		if err != nil {
			return nil, storeFailure("the key file "+path+" has a line that is no key: "+
				"each is 32 bytes in base64", keyFileHint(path))
		}
	}
	if len(keys) == 0 {
		return nil, storeFailure("the key file "+path+" is empty", keyFileHint(path))
	}
	return keys, nil
}

// keyFileHint says how to come by the key file of a database. The command does not make it: it
// cannot know whether another machine has the key of what is in the database.
func keyFileHint(path string) string {
	return "restore the file that the logins in the database were sealed with, or, if it has none yet, " +
		"make one: (umask 077; head -c 32 /dev/urandom | base64 > " + shellWord(path) + ")"
}

// importToDatabase is how a login that was exported comes into a database.
const importToDatabase = "handstamp import FILE --store postgres://… --tenant NAME --user NAME " +
	"stores it in the database"

// openOwned opens what one user has in a database, for the commands of a user.
func (a *app) openOwned(word string) (*openedStore, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.lockTimeout())
	defer cancel()
	db, err := a.openDatabase(ctx, word)
	if err != nil {
		return nil, err
	}
	s, err := db.Store(store.Owner{Tenant: a.global.Tenant, User: a.global.User})
	if err != nil {
		db.close()
		return nil, usage("--tenant and --user are names: %w", err)
	}
	a.database = db
	return &openedStore{Store: s, word: word}, nil
}

// describeDatabase is describeStore of a database.
func (a *app) describeDatabase(word string) storeInfo {
	info := storeInfo{Store: withoutPassword(word), Protection: "sealed with AES-256-GCM",
		Key: "key file " + cmp.Or(a.env.get("HANDSTAMP_STORE_KEY_FILE"), a.conf.StoreKeyFile)}
	if strings.HasSuffix(info.Key, " "+keysNone) {
		info.Key, info.Protection = "", "in the clear: whoever reads the database has the tokens"
	}
	return info
}

// withoutPassword returns the URL of a database as it may be shown.
func withoutPassword(word string) string {
	u, ok := parseAddress(word)
	if !ok {
		return "postgres://…"
	}
	query := u.Query()
	for _, name := range secretSettings {
		query.Del(name)
	}
	u.RawQuery = query.Encode()
	shown := u.Scheme + "://"
	if u.User != nil {
		shown += url.User(u.User.Username()).String() + "@"
	}
	u.Scheme, u.User, u.Host = "", nil, ""
	return shown + u.hosts + u.String()
}
