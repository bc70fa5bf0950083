package redisstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/store"
)

// maxValue is the size of the largest value that is taken.
const maxValue = 16 << 20

// writeTimeout bounds a write that has begun, which the caller's context does not end.
const writeTimeout = 30 * time.Second

// ownedStore has the credentials of one user. All of its keys are in one slot of a Cluster: a
// script compares and sets a value and the list of them in one step.
type ownedStore struct {
	db   *Database
	slot string // with which all keys begin
}

var _ store.Store = (*ownedStore)(nil)

// slot returns what the keys of an owner begin with. The part in braces decides the slot.
func (db *Database) slot(o store.Owner) string {
	return db.prefix + ":{" + hash(o.Tenant, o.User) + "}"
}

// hash returns the same text for the same parts only.
func hash(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part) // with its length, so that no two lists are alike
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (s *ownedStore) valueKey(key store.Key) string {
	return s.slot + ":value:" + hash(key.Server, key.Profile)
}

// listKey is a hash that has, for each value's key, the server and the profile in JSON.
func (s *ownedStore) listKey() string { return s.slot + ":list" }

// checksumSize is how many bytes of a hash precede a value. They find one that was changed, cut or
// moved to another key; that it was done on purpose, only a seal finds.
const checksumSize = 8

func withChecksum(key string, value []byte) []byte {
	h := sha256.New()
	h.Write([]byte(key))
	h.Write(value)
	return append(h.Sum(nil)[:checksumSize:checksumSize], value...)
}

func withoutChecksum(key string, text []byte) ([]byte, error) {
	value := text[min(len(text), checksumSize):]
	if !bytes.Equal(text, withChecksum(key, value)) {
		return nil, fmt.Errorf("%w: the value of %s does not match its checksum", store.ErrCorrupt, key)
	}
	return value, nil
}

// Get implements [store.Store].
func (s *ownedStore) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	name := s.valueKey(key)
	found, err := s.db.client.HMGet(ctx, name, "revision", "value").Result()
	if err != nil {
		return nil, "", unusable(ctx, err)
	}
	revision, ok := found[0].(string)
	if !ok {
		return nil, "", store.ErrNotFound
	}
	text, _ := found[1].(string)
	value, err := withoutChecksum(name, []byte(text))
	return value, store.Revision(revision), err
}

// putScript compares the revision and sets the value. KEYS: the value, the list. ARGV: the revision
// to replace, the new one, the value, the entry in the list.
var putScript = redis.NewScript(`
if (redis.call('HGET', KEYS[1], 'revision') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'value', ARGV[3])
redis.call('HSET', KEYS[2], KEYS[1], ARGV[4])
return 1`)

// deleteScript compares the revision and deletes the value, if there is one.
var deleteScript = redis.NewScript(`
local revision = redis.call('HGET', KEYS[1], 'revision')
if revision and revision ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], KEYS[1])
return 1`)

// Put implements [store.Store].
func (s *ownedStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	if len(value) > maxValue {
		return "", fmt.Errorf("%w: a value of %d bytes is too large", store.ErrUnusable, len(value))
	}
	name, next := s.valueKey(key), rand.Text()
	entry, err := json.Marshal(listEntry{[]byte(key.Server), []byte(key.Profile)})
	if err != nil {
		return "", err
	}
	err = s.write(ctx, putScript, name, string(revision), next, withChecksum(name, value), entry)
	if err != nil {
		return "", err
	}
	return store.Revision(next), nil
}

// listEntry is a key of any bytes: JSON keeps those that are not UTF-8 in base64.
type listEntry struct{ Server, Profile []byte }

// Delete implements [store.Store].
func (s *ownedStore) Delete(ctx context.Context, key store.Key, revision store.Revision) error {
	return s.write(ctx, deleteScript, s.valueKey(key), string(revision))
}

// write runs a script that changes a value, and waits for replicas. Once it is sent, ctx does not
// end it: the value may be the only copy of a refresh token.
func (s *ownedStore) write(ctx context.Context, script *redis.Script, name string, args ...any) error {
	if ctx.Err() != nil {
		return unusable(ctx, ctx.Err())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	conn, release, err := s.db.connection(ctx, name)
	if err != nil {
		return unusable(ctx, err)
	}
	defer release()
	done, err := script.Run(ctx, conn, []string{name, s.listKey()}, args...).Int()
	switch {
	case err != nil:
		return unusable(ctx, err)
	case done == 0:
		return store.ErrConflict
	case s.db.replicas == 0:
		return nil
	}
	reached, err := conn.Do(ctx, "WAIT", strconv.Itoa(s.db.replicas),
		strconv.FormatInt(writeTimeout.Milliseconds()/3, 10)).Int()
	if err == nil && reached < s.db.replicas {
		err = fmt.Errorf("%d of %d replicas have the value", reached, s.db.replicas)
	}
	if err != nil {
		return unusable(ctx, err)
	}
	return nil
}

// scripter is a connection that runs scripts and other commands one after the other.
type scripter interface {
	redis.Scripter
	Do(ctx context.Context, args ...any) *redis.Cmd
}

// connection returns one connection to the server that has a key: WAIT is about what was written
// on its own connection.
func (db *Database) connection(ctx context.Context, key string) (scripter, func(), error) {
	if db.replicas == 0 {
		return db.client, func() {}, nil
	}
	switch c := db.client.(type) {
	case *redis.ClusterClient:
		server, err := c.MasterForKey(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		conn := server.Conn()
		return conn, func() { _ = conn.Close() }, nil
	case *redis.Client:
		conn := c.Conn()
		return conn, func() { _ = conn.Close() }, nil
	}
	return nil, nil, errors.New("Options.Replicas needs a client of one server, Sentinel or a Cluster")
}

// List implements [store.Store].
func (s *ownedStore) List(ctx context.Context) ([]store.Key, error) {
	entries, err := s.db.client.HVals(ctx, s.listKey()).Result()
	if err != nil {
		return nil, unusable(ctx, err)
	}
	keys := make([]store.Key, 0, len(entries))
	for _, entry := range entries {
		var e listEntry
		if json.Unmarshal([]byte(entry), &e) == nil {
			keys = append(keys, store.Key{Server: string(e.Server), Profile: string(e.Profile)})
		}
	}
	slices.SortFunc(keys, store.Key.Compare)
	return keys, nil
}
