//go:build unix

package servicetest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/installed"
	"github.com/handstamp/handstamp/internal/proctest"
)

// Postgres is a PostgreSQL server with a cluster of its own, which listens on a Unix socket alone.
type Postgres struct {
	t      testing.TB
	dir    string // has the cluster, the socket and the log
	flags  []string
	server *exec.Cmd
}

// StartPostgres starts an empty server, which ends with the test. flags are settings beside the
// usual ones, such as "max_connections=20". The test is skipped where PostgreSQL is not installed,
// unless HANDSTAMP_TEST_REQUIRE names postgres.
func StartPostgres(t testing.TB, flags ...string) *Postgres {
	t.Helper()
	p := newPostgres(t, flags)
	if err := p.makeCluster(); err != nil {
		t.Fatal(err)
	}
	return p.started()
}

// StartStandby starts a server that replicates this one, until it is promoted. For a failover that
// loses nothing, this one has the flag synchronous_standby_names=*, and has written nothing before.
func (p *Postgres) StartStandby(flags ...string) *Postgres {
	p.t.Helper()
	standby := newPostgres(p.t, flags)
	path := find(p.t, "postgres", "pg_basebackup", "/usr/lib/postgresql/*/bin")
	if err := standby.fill(path, "--dbname="+p.URL(), "--write-recovery-conf", "--checkpoint=fast", "--no-sync"); err != nil {
		p.t.Fatal(err)
	}
	return standby.started()
}

// newPostgres returns a server without a cluster, which is not started.
func newPostgres(t testing.TB, flags []string) *Postgres {
	t.Helper()
	find(t, "postgres", "postgres", "/usr/lib/postgresql/*/bin")
	// Not t.TempDir: the path of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &Postgres{t: t, dir: dir, flags: flags}
	if err := p.own(); err != nil {
		t.Fatal(err)
	}
	return p
}

// fill makes the cluster with a program of PostgreSQL.
func (p *Postgres) fill(program string, args ...string) error {
	args = append([]string{"--pgdata=" + p.cluster()}, args...)
	if out, err := p.command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

func (p *Postgres) started() *Postgres {
	p.t.Helper()
	p.Start()
	p.t.Cleanup(p.Kill)
	return p
}

// Promote makes a standby the primary.
func (p *Postgres) Promote() {
	p.t.Helper()
	path := find(p.t, "postgres", "pg_ctl", "/usr/lib/postgresql/*/bin")
	out, err := p.command(path, "promote", "--wait", "--pgdata="+p.cluster()).CombinedOutput()
	if err != nil {
		p.t.Fatalf("pg_ctl promote: %v\n%s", err, out)
	}
}

// URLs returns where the one of several servers is that takes writes.
func URLs(servers ...*Postgres) string {
	var hosts, ports []string
	for _, p := range servers {
		hosts, ports = append(hosts, p.dir), append(ports, "5432")
	}
	return "host=" + strings.Join(hosts, ",") + " port=" + strings.Join(ports, ",") +
		" user=postgres dbname=postgres target_session_attrs=read-write"
}

// URL returns where the server is, as pgx and libpq read it.
func (p *Postgres) URL() string {
	return "host=" + p.dir + " port=5432 user=postgres dbname=postgres"
}

// Dir returns the folder of the cluster, with tables and WAL.
func (p *Postgres) Dir() string { return p.cluster() }

func (p *Postgres) cluster() string { return filepath.Join(p.dir, "cluster") }

// Start starts the server again after [Postgres.Kill] or [Postgres.Stop].
func (p *Postgres) Start() {
	p.t.Helper()
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	postgres := find(p.t, "postgres", "postgres", "/usr/lib/postgresql/*/bin")
	args := []string{"-D", p.cluster(), "-k", p.dir, "-h", "", "-p", "5432"}
	// A server that is killed loses nothing that the kernel has, so that waiting for the disk would
	// prove no more, and measure what else the machine does.
	usual := []string{"max_connections=200", "fsync=off", "full_page_writes=off"}
	for _, flag := range append(usual, p.flags...) {
		args = append(args, "-c", flag)
	}
	start := func() {
		p.server = p.command(postgres, args...)
		p.server.Stdout, p.server.Stderr = log, log
		if err := p.server.Start(); err != nil {
			p.t.Fatal(err)
		}
	}
	start()
	ready := find(p.t, "postgres", "pg_isready", "/usr/lib/postgresql/*/bin")
	for deadline := time.Now().Add(time.Minute); ; {
		if p.command(ready, "-q", "-h", p.dir, "-p", "5432").Run() == nil {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			p.t.Fatalf("PostgreSQL does not come up:\n%s", text)
		}
		time.Sleep(20 * time.Millisecond)
		// It ends at once as long as processes of the server that was killed are still there.
		pid := p.server.Process.Pid
		if ended, _ := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); ended == pid {
			start()
		}
	}
}

// Kill ends the server with all its processes, as a crash of the machine does.
func (p *Postgres) Kill() {
	if p.server == nil {
		return
	}
	pid := p.server.Process.Pid
	// Each of its processes has a group of its own, and would complete what it is about.
	_ = syscall.Kill(pid, syscall.SIGSTOP) // so that it makes no others
	others, _ := children(pid)             // elsewhere than on Linux they end soon after
	for _, other := range append(others, pid) {
		_ = syscall.Kill(other, syscall.SIGKILL)
	}
	_ = p.server.Wait()
	p.server = nil
}

// Pause suspends the server with all its processes until [Postgres.Resume]: to its clients it is
// there and does not respond. The test is skipped on systems other than Linux.
func (p *Postgres) Pause() {
	p.t.Helper()
	p.signalAll(syscall.SIGSTOP)
}

// Resume ends [Postgres.Pause].
func (p *Postgres) Resume() {
	p.t.Helper()
	p.signalAll(syscall.SIGCONT)
}

func (p *Postgres) signalAll(signal syscall.Signal) {
	p.t.Helper()
	pid := p.server.Process.Pid
	_ = syscall.Kill(pid, signal) // first the one that makes the others, so that none is missed
	others, err := children(pid)
	if err != nil {
		p.t.Skip("the processes of a server are known on Linux only:", err)
	}
	for _, other := range others {
		_ = syscall.Kill(other, signal)
	}
}

// children returns the processes that a process has started.
func children(pid int) (pids []int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, word := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(word); err == nil {
			pids = append(pids, child)
		}
	}
	return pids, err
}

// Dump returns what pg_dump prints.
func (p *Postgres) Dump() []byte {
	p.t.Helper()
	path := find(p.t, "postgres", "pg_dump", "/usr/lib/postgresql/*/bin")
	out, err := p.command(path, "--dbname="+p.URL()).Output()
	if err != nil {
		p.t.Fatalf("pg_dump: %v", err)
	}
	return out
}

// Stop ends the server and waits for it: with SIGINT it ends all sessions and shuts down (fast),
// with SIGQUIT it ends without that (immediate), and recovers when it starts again.
func (p *Postgres) Stop(signal syscall.Signal) {
	if p.server == nil {
		return
	}
	_ = p.server.Process.Signal(signal)
	_ = p.server.Wait()
	p.server = nil
}

// own gives the folder to the user that the server runs as, which is not root.
func (p *Postgres) own() error {
	c := credential()
	if c == nil {
		return nil
	}
	return os.Chown(p.dir, int(c.Uid), int(c.Gid))
}

// command returns a command that runs as the server's user, in a process group of its own.
func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: credential()}
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", proctest.Service)
	return cmd
}

// credential returns the user that takes root's place: PostgreSQL does not run as root.
func credential() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		const none = 65534 // the user and group without rights
		return &syscall.Credential{Uid: none, Gid: none}
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// find returns the path of a program of a service. Debian keeps some in a folder of their own,
// for which folders is a pattern; the newest is taken.
func find(t testing.TB, service, program, folders string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if found, _ := filepath.Glob(filepath.Join(folders, program)); err != nil && len(found) > 0 {
		path, err = slices.Max(found), nil
	}
	problem := ""
	if err != nil {
		problem = program + " is not installed"
	}
	installed.Need(t, service, problem)
	return path
}
