//go:build unix

package redisstore_test

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store/redisstore"
)

// failures is a hook that reports the commands that failed.
type failures chan string

func (failures) DialHook(next redis.DialHook) redis.DialHook { return next }

func (failures) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (f failures) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err != nil && err != redis.Nil {
			select {
			case f <- err.Error():
			default: // enough are known
			}
		}
		return err
	}
}

// While the keys of a user are moved to another server of a Cluster, some of them are there already:
// a write waits until all are.
func TestSlotMoves(t *testing.T) {
	t.Parallel()
	nodes := servicetest.StartRedisCluster(t)
	failed := make(failures, 1)
	client := newClient(t, addresses(nodes...))
	db := open(t, client, redisstore.Options{})
	s := storeOf(t, db, ada)
	revision := mustPut(t, s, lockedKey, "before", "")
	value := db.ValueKey(ada, lockedKey)
	slot := strings.TrimSpace(nodes[0].Command("cluster", "keyslot", value))
	from, to := ownerOfSlot(t, nodes, value)
	command := func(on *servicetest.Redis, args ...string) {
		t.Helper()
		if out := on.Command(args...); strings.TrimSpace(out) != "OK" {
			t.Fatalf("%v: %s", args, out)
		}
	}
	id := func(r *servicetest.Redis) string { return strings.TrimSpace(r.Command("cluster", "myid")) }
	_, port, _ := strings.Cut(to.Addr(), ":")
	move := func(key string) { command(from, "migrate", "127.0.0.1", port, key, "0", "60000") }
	command(to, "cluster", "setslot", slot, "importing", id(from))
	command(from, "cluster", "setslot", slot, "migrating", id(to))
	move(value)
	client.AddHook(failed)
	written := make(chan error, 1)
	go func() {
		_, err := s.Put(t.Context(), lockedKey, []byte("after"), revision)
		written <- err
	}()
	select {
	case <-failed:
	case err := <-written:
		t.Fatalf("Put = %v while only a part of the keys has moved", err)
	}
	list := strings.TrimSpace(from.Command("cluster", "getkeysinslot", slot, "10"))
	move(list)
	for _, node := range nodes {
		command(node, "cluster", "setslot", slot, "node", id(to))
	}
	if err := <-written; err != nil {
		t.Errorf("Put = %v", err)
	}
	if value, _, err := s.Get(t.Context(), lockedKey); string(value) != "after" || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
	if keys, err := s.List(t.Context()); len(keys) != 1 || err != nil {
		t.Errorf("List = %v, %v", keys, err)
	}
}

// ownerOfSlot returns the server that has a key, and another.
func ownerOfSlot(
	t *testing.T, nodes []*servicetest.Redis, key string,
) (owner, other *servicetest.Redis) {
	t.Helper()
	for i, node := range nodes {
		if strings.TrimSpace(node.Command("exists", key)) == "1" {
			return node, nodes[(i+1)%len(nodes)]
		}
	}
	t.Fatalf("no server has %s", key)
	return nil, nil
}
