//go:build unix

package servicetest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// RedisGroup is a primary server with replicas, and a Sentinel that promotes one of them when the
// primary is gone.
type RedisGroup struct {
	Primary  *Redis
	Replicas []*Redis

	sentinel *Redis
}

// SentinelName is the name that Sentinel knows a [RedisGroup] by.
const SentinelName = "primary"

// StartRedisGroup starts a primary server with replicas that have caught up, and their Sentinel.
func StartRedisGroup(t testing.TB, replicas int) *RedisGroup {
	t.Helper()
	ports := freePorts(t, replicas+2)
	soon := []string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}
	g := &RedisGroup{Primary: startRedis(t, "redis", ports[0], soon...)}
	for i := range replicas {
		r := startRedis(t, "redis", ports[1+i], append(soon, "--replicaof", "127.0.0.1 "+ports[0])...)
		r.await("info replication", "master_link_status:up")
		g.Replicas = append(g.Replicas, r)
	}
	g.sentinel = startSentinel(t, ports[0], ports[replicas+1])
	g.sentinel.await("sentinel master "+SentinelName, fmt.Sprintf("num-slaves\n%d\n", replicas))
	// And it has a connection to each.
	g.sentinel.awaitCount(replicas, "sentinel replicas "+SentinelName, "flags\nslave\n")
	return g
}

// startSentinel starts a Sentinel of a primary server. Debian's redis-sentinel is the same program.
func startSentinel(t testing.TB, primary, port string) *Redis {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Redis{t: t, service: "redis", dir: dir, port: port}
	file := filepath.Join(dir, "sentinel.conf") // Sentinel writes to it
	config := strings.ReplaceAll(`
sentinel monitor NAME 127.0.0.1 `+primary+` 1
sentinel down-after-milliseconds NAME 60000
sentinel failover-timeout NAME 5000
`, "NAME", SentinelName)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(file, "--sentinel", "--port", port, "--bind", "127.0.0.1", "--unixsocket", s.Socket(),
		"--dir", dir, "--logfile", filepath.Join(dir, "log"))
	t.Cleanup(s.Kill)
	s.await("ping", "PONG")
	return s
}

// Sentinel returns the address of the Sentinel.
func (g *RedisGroup) Sentinel() string { return g.sentinel.Addr() }

// CatchUp waits until every replica has what the primary server has.
func (g *RedisGroup) CatchUp() {
	t := g.Primary.t
	t.Helper()
	// WAIT counts the replicas that have the last write of its own connection.
	out := g.Primary.commands(fmt.Sprintf("set caught-up 1\nwait %d 60000\n", len(g.Replicas)))
	if want := fmt.Sprintf("OK\n%d\n", len(g.Replicas)); out != want {
		t.Fatalf("the replicas do not catch up: %q", out)
	}
}

// Failover kills the primary server, and returns when Sentinel has promoted another, which the others
// follow.
func (g *RedisGroup) Failover() {
	t := g.Primary.t
	t.Helper()
	// Only now: on a busy machine a server that lives may be silent for so long.
	g.sentinel.Command("sentinel", "set", SentinelName, "down-after-milliseconds", "500")
	g.Primary.Kill()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out := strings.Fields(g.sentinel.Command("sentinel", "get-master-addr-by-name", SentinelName))
		promoted := slices.IndexFunc(g.Replicas, func(r *Redis) bool {
			return len(out) == 2 && r.port == out[1]
		})
		if promoted >= 0 {
			g.Primary = g.Replicas[promoted]
			g.Replicas = slices.Delete(g.Replicas, promoted, promoted+1)
			g.Primary.awaitCount(len(g.Replicas), "info replication", "state=online")
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(g.sentinel.dir, "log"))
			t.Fatalf("Sentinel does not promote a replica:\n%s", log)
		}
	}
}
