package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/internal/checksum"
	"github.com/handstamp/handstamp/store"
)

// maxValue is the size of the largest value that is taken.
const maxValue = 16 << 20

// ownedStore has the credentials of one user. All of its keys are in one slot of a Cluster: a
// script compares and sets a value and the list of them in one step.
type ownedStore struct {
	db    *Database
	owner string // its ID
	slot  string // with which all keys begin; the part in braces decides the slot
}

var _ store.Store = (*ownedStore)(nil)

func newOwnedStore(db *Database, o store.Owner) *ownedStore {
	id := o.ID()
	return &ownedStore{db: db, owner: id, slot: db.prefix + ":{" + id + "}"}
}

func (s *ownedStore) valueKey(key store.Key) string { return s.slot + ":value:" + key.ID() }

// listKey is a hash that has, for each value's key, the server and the profile in JSON.
func (s *ownedStore) listKey() string { return s.slot + ":list" }

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
	value, ok := checksum.Cut(name, []byte(text))
	if !ok {
		return nil, store.Revision(revision), fmt.Errorf(
			"%w: the value of %s does not match its checksum", store.ErrCorrupt, name)
	}
	return value, store.Revision(revision), nil
}

// putScript compares the revision and sets the value. What it has set before a connection broke, it
// sets again. KEYS: the value, the list. ARGV: the channel and the message of the change, the
// revision to replace, the new one, the value, the entry in the list.
var putScript = redis.NewScript(`
local revision = redis.call('HGET', KEYS[1], 'revision') or ''
if revision ~= ARGV[3] and revision ~= ARGV[4] then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[4], 'value', ARGV[5])
redis.call('HSET', KEYS[2], KEYS[1], ARGV[6])
redis.pcall('PUBLISH', ARGV[1], ARGV[2])
return 1`)

// deleteScript compares the revision and deletes the value. Where there is none it writes all the
// same: WAIT waits for what its own connection has written. KEYS: the value, the list. ARGV: the
// channel and the message of the change, the revision.
var deleteScript = redis.NewScript(`
local revision = redis.call('HGET', KEYS[1], 'revision')
if revision and revision ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[3])
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], KEYS[1])
redis.pcall('PUBLISH', ARGV[1], ARGV[2])
return 1`)

// Put implements [store.Store].
func (s *ownedStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	if len(value) > maxValue {
		return "", fmt.Errorf("%w: a value of %d bytes is too large", store.ErrUnusable, len(value))
	}
	next := rand.Text()
	entry, err := json.Marshal(listEntry{[]byte(key.Server), []byte(key.Profile)})
	if err != nil {
		return "", err
	}
	value = checksum.Add(s.valueKey(key), value)
	err = s.write(ctx, putScript, key, string(revision), next, value, entry)
	if err != nil {
		return "", err
	}
	return store.Revision(next), nil
}

// listEntry is a key of any bytes: JSON keeps those that are not UTF-8 in base64.
type listEntry struct{ Server, Profile []byte }

// Delete implements [store.Store].
func (s *ownedStore) Delete(ctx context.Context, key store.Key, revision store.Revision) error {
	return s.write(ctx, deleteScript, key, string(revision))
}

// write runs a script that changes a value.
func (s *ownedStore) write(
	ctx context.Context, script *redis.Script, key store.Key, args ...any,
) error {
	keys := []string{s.valueKey(key), s.listKey()}
	args = append([]any{s.db.channel(), s.db.message(s.owner, key.ID())}, args...)
	done, err := s.db.persist(ctx, script, keys, args...)
	if err == nil && !done {
		return store.ErrConflict
	}
	return err
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
