//go:build unix

package servicetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
)

// PgBouncer is a PgBouncer in transaction mode before a [Postgres].
type PgBouncer struct {
	t      testing.TB
	server *Postgres
	dir    string // has the socket, the configuration and the log
	proxy  *exec.Cmd
}

// StartPgBouncer starts a PgBouncer, which ends with the test. It has size connections to the
// server. Its database "app" is the same one for the role app, if the test creates that. The test is
// skipped where PgBouncer is not installed, unless HANDSTAMP_TEST_REQUIRE names pgbouncer.
func StartPgBouncer(t testing.TB, server *Postgres, size int) *PgBouncer {
	t.Helper()
	find(t, "pgbouncer", "pgbouncer", "/usr/sbin")
	dir, err := os.MkdirTemp("", "pgb") // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &PgBouncer{t: t, server: server, dir: dir}
	settings := fmt.Sprintf(`[databases]
postgres = host=%[1]s port=5432 user=postgres
app = host=%[1]s port=5432 dbname=postgres user=app
[pgbouncer]
pool_mode = transaction
default_pool_size = %[2]d
max_client_conn = 1000
auth_type = any
unix_socket_dir = %[3]s
listen_port = 6432
logfile = %[4]s
ignore_startup_parameters = extra_float_digits
`, server.dir, size, dir, filepath.Join(dir, "log"))
	if err := os.WriteFile(b.config(), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	if c := credential(); c != nil { // PgBouncer does not run as root either
		if err := os.Chown(dir, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	b.Start()
	t.Cleanup(b.Kill)
	return b
}

func (b *PgBouncer) config() string { return filepath.Join(b.dir, "pgbouncer.ini") }

// URL returns where the PgBouncer is, as pgx and libpq read it.
func (b *PgBouncer) URL() string {
	return "host=" + b.dir + " port=6432 user=postgres dbname=postgres"
}

// Start starts the PgBouncer again after [PgBouncer.Kill].
func (b *PgBouncer) Start() {
	b.t.Helper()
	b.proxy = exec.Command(find(b.t, "pgbouncer", "pgbouncer", "/usr/sbin"), "-q", b.config())
	b.proxy.Env = append(os.Environ(), proctest.Service)
	b.proxy.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: credential()}
	if err := b.proxy.Start(); err != nil {
		b.t.Fatal(err)
	}
	ready := find(b.t, "postgres", "pg_isready", "/usr/lib/postgresql/*/bin")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if exec.Command(ready, "-q", "-h", b.dir, "-p", "6432").Run() == nil {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(b.dir, "log"))
			b.t.Fatalf("PgBouncer does not come up:\n%s", text)
		}
	}
}

// Kill ends the PgBouncer at once, and with it every connection through it.
func (b *PgBouncer) Kill() {
	if b.proxy == nil {
		return
	}
	_ = b.proxy.Process.Kill()
	_ = b.proxy.Wait()
	b.proxy = nil
}
