//go:build unix

package servicetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Redis is a Redis server that listens on a Unix socket alone.
type Redis struct {
	t      testing.TB
	dir    string // has the socket, the append-only file and the log
	flags  []string
	server *exec.Cmd
}

// StartRedis starts an empty server with an append-only file, which ends with the test. flags are
// arguments beside the usual ones. The test is skipped where Redis is not installed, unless
// HANDSTAMP_TEST_REQUIRE names redis.
func StartRedis(t testing.TB, flags ...string) *Redis {
	t.Helper()
	find(t, "redis", "redis-server", "/opt/redis/bin")
	dir, err := os.MkdirTemp("", "redis") // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &Redis{t: t, dir: dir, flags: flags}
	r.Start()
	t.Cleanup(r.Kill)
	return r
}

// Socket returns the path of the server's socket.
func (r *Redis) Socket() string { return filepath.Join(r.dir, "redis.sock") }

// Dir returns the folder of what the server keeps on disk.
func (r *Redis) Dir() string { return r.dir }

// Start starts the server again after [Redis.Kill] or [Redis.Stop].
func (r *Redis) Start() {
	r.t.Helper()
	args := []string{"--port", "0", "--unixsocket", r.Socket(), "--dir", r.dir, "--appendonly", "yes",
		"--appendfsync", "always", "--save", "", "--logfile", filepath.Join(r.dir, "log")}
	r.server = exec.Command("redis-server", append(args, r.flags...)...)
	if err := r.server.Start(); err != nil {
		r.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out, _ := exec.Command("redis-cli", "-s", r.Socket(), "ping").Output()
		if string(out) == "PONG\n" {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(r.dir, "log"))
			r.t.Fatalf("Redis does not come up:\n%s", text)
		}
	}
}

// Stop asks the server to end, and waits for it.
func (r *Redis) Stop() {
	if r.server == nil {
		return
	}
	_ = r.server.Process.Signal(syscall.SIGTERM)
	_ = r.server.Wait()
	r.server = nil
}

// Kill ends the server at once.
func (r *Redis) Kill() {
	if r.server == nil {
		return
	}
	_ = r.server.Process.Kill()
	_ = r.server.Wait()
	r.server = nil
}
