//go:build unix

package servicetest

import (
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
)

// Redis is a Redis or Valkey server with a folder of its own. It listens on a Unix socket, and one
// of a Cluster or with replicas on a port of loopback, too.
type Redis struct {
	t       testing.TB
	service string // "redis" or "valkey"
	dir     string // has the socket, the append-only file and the log
	port    string // "0": the socket alone
	flags   []string
	server  *exec.Cmd
}

// StartRedis starts an empty server with an append-only file, which ends with the test. flags are
// arguments beside the usual ones. The test is skipped where Redis is not installed, unless
// HANDSTAMP_TEST_REQUIRE names redis.
func StartRedis(t testing.TB, flags ...string) *Redis {
	t.Helper()
	return startRedis(t, "redis", "0", flags...)
}

// StartValkey is [StartRedis] for Valkey.
func StartValkey(t testing.TB, flags ...string) *Redis {
	t.Helper()
	return startRedis(t, "valkey", "0", flags...)
}

func startRedis(t testing.TB, service, port string, flags ...string) *Redis {
	t.Helper()
	find(t, service, service+"-server", "/opt/"+service+"/bin")
	dir, err := os.MkdirTemp("", "redis") // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &Redis{t: t, service: service, dir: dir, port: port, flags: flags}
	r.Start()
	t.Cleanup(r.Kill)
	return r
}

// Socket returns the path of the server's socket.
func (r *Redis) Socket() string { return filepath.Join(r.dir, "redis.sock") }

// Addr returns the server's address on loopback.
func (r *Redis) Addr() string { return "127.0.0.1:" + r.port }

// Dir returns the folder of what the server keeps on disk.
func (r *Redis) Dir() string { return r.dir }

// Start starts the server again after [Redis.Kill] or [Redis.Stop].
func (r *Redis) Start() {
	r.t.Helper()
	args := []string{"--port", r.port, "--bind", "127.0.0.1", "--unixsocket", r.Socket(), "--dir", r.dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "",
		"--logfile", filepath.Join(r.dir, "log")}
	r.run(append(args, r.flags...)...)
	r.await("ping", "PONG")
}

// run starts the process.
func (r *Redis) run(args ...string) {
	r.t.Helper()
	program := find(r.t, r.service, r.service+"-server", "/opt/"+r.service+"/bin")
	r.server = exec.Command(program, args...)
	r.server.Env = append(os.Environ(), proctest.Service)
	if err := r.server.Start(); err != nil {
		r.t.Fatal(err)
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

// Signal sends the server a signal: SIGSTOP makes it one that does not respond.
func (r *Redis) Signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.server.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// Command runs a command of Redis on the server, and returns its output.
func (r *Redis) Command(args ...string) string {
	out, _ := r.cli(args...).Output()
	return string(out)
}

// commands runs several commands, one a line, on one connection.
func (r *Redis) commands(lines string) string {
	cmd := r.cli()
	cmd.Stdin = strings.NewReader(lines)
	out, _ := cmd.Output()
	return string(out)
}

func (r *Redis) cli(args ...string) *exec.Cmd {
	program := find(r.t, r.service, r.service+"-cli", "/opt/"+r.service+"/bin")
	cmd := exec.Command(program, append([]string{"-s", r.Socket()}, args...)...)
	cmd.Env = append(os.Environ(), proctest.Service)
	return cmd
}

// await waits until the output of a command has a text.
func (r *Redis) await(command, text string) {
	r.t.Helper()
	r.awaitCount(1, command, text)
}

// awaitCount waits until the output of a command has a text n times.
func (r *Redis) awaitCount(n int, command, text string) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out := r.Command(strings.Fields(command)...)
		if strings.Count(out, text) >= n {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(r.dir, "log"))
			r.t.Fatalf("Redis: no %q in the output of %s:\n%s\n%s", text, command, out, log)
		}
	}
}

// given has the ports that a server of this process has, or is about to have.
var given sync.Map

// freePorts returns n ports of loopback that nothing listens on. The system gives them to no
// connection before a server has them: those that it gives begin above.
func freePorts(t testing.TB, n int) (ports []string) {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(10000 + rand.IntN(20000))
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		defer l.Close() // not before all are known
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("no port of loopback is free")
	return nil
}
