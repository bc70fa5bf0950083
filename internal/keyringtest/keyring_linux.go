package keyringtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/installed"
	"github.com/handstamp/handstamp/internal/proctest"
)

// Keyring is a keyring with its session bus, which end with the test.
type Keyring struct {
	RuntimeDir string // has the bus at its usual place, as the file bus

	t      testing.TB
	daemon *exec.Cmd
}

// Start starts a session bus and a keyring that is unlocked and empty. The test is skipped where
// that is not installed, unless HANDSTAMP_TEST_REQUIRE names keyring.
func Start(t testing.TB) *Keyring {
	t.Helper()
	k := StartBus(t)
	need(t, "gnome-keyring-daemon")
	k.startDaemon()
	return k
}

// StartBus starts a session bus with no keyring on it.
func StartBus(t testing.TB) *Keyring {
	t.Helper()
	need(t, "dbus-daemon")
	need(t, "dbus-send")
	k := &Keyring{t: t, RuntimeDir: runtimeDir(t)}
	config := filepath.Join(k.RuntimeDir, "bus.conf")
	// Without folders of services, so that the bus starts none of this machine's.
	text := fmt.Sprintf(`<busconfig><type>session</type><listen>unix:path=%s</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>`, k.path())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	k.run(exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--nosyslog"))
	k.await("the bus does not come up", func() bool {
		_, err := k.send("/", "org.freedesktop.DBus.Peer.Ping", "org.freedesktop.DBus")
		return err == nil
	})
	return k
}

// SilentBus returns a runtime folder whose bus accepts connections and never says anything.
func SilentBus(t testing.TB) *Keyring {
	t.Helper()
	k := &Keyring{t: t, RuntimeDir: runtimeDir(t)}
	listener, err := net.Listen("unix", k.path())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return k
}

// Address returns the address of the bus, as in DBUS_SESSION_BUS_ADDRESS.
func (k *Keyring) Address() string { return "unix:path=" + k.path() }

func (k *Keyring) path() string { return filepath.Join(k.RuntimeDir, "bus") }

// Lock locks the keyring. No user is there to unlock it.
func (k *Keyring) Lock() {
	k.t.Helper()
	out, err := k.send("/org/freedesktop/secrets", "org.freedesktop.Secret.Service.Lock",
		"org.freedesktop.secrets", "array:objpath:"+loginPath)
	if err != nil {
		k.t.Fatalf("lock: %v: %s", err, out)
	}
}

// Wipe puts an empty keyring in place of this one.
func (k *Keyring) Wipe() {
	k.t.Helper()
	k.Stop()
	k.startDaemon()
}

// Stop ends the keyring. The bus stays.
func (k *Keyring) Stop() {
	k.t.Helper()
	_ = k.daemon.Process.Kill()
	_ = k.daemon.Wait()
}

// Freeze suspends the keyring for the rest of the test.
func (k *Keyring) Freeze() {
	k.t.Helper()
	if err := k.daemon.Process.Signal(syscall.SIGSTOP); err != nil {
		k.t.Fatal(err)
	}
}

// Items returns how many items the keyring has.
func (k *Keyring) Items() int {
	k.t.Helper()
	out, err := k.send(loginPath, "org.freedesktop.DBus.Properties.Get", "org.freedesktop.secrets",
		"string:org.freedesktop.Secret.Collection", "string:Items")
	if err != nil {
		k.t.Fatalf("items: %v: %s", err, out)
	}
	return strings.Count(out, "object path")
}

const loginPath = "/org/freedesktop/secrets/collection/login"

func (k *Keyring) startDaemon() {
	home := k.t.TempDir()
	k.daemon = exec.Command("gnome-keyring-daemon", "--unlock", "--components=secrets", "--foreground",
		"--control-directory="+filepath.Join(home, "control"))
	k.daemon.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home,
		"XDG_RUNTIME_DIR="+k.RuntimeDir, "DBUS_SESSION_BUS_ADDRESS="+k.Address(), "DISPLAY=")
	k.daemon.Stdin = strings.NewReader("password")
	k.run(k.daemon)
	k.await("the keyring does not come up", func() bool {
		out, err := k.send("/org/freedesktop/secrets", "org.freedesktop.DBus.Properties.Get",
			"org.freedesktop.secrets", "string:org.freedesktop.Secret.Service", "string:Collections")
		return err == nil && strings.Contains(out, loginPath)
	})
}

// run starts a process that ends with the test.
func (k *Keyring) run(cmd *exec.Cmd) {
	k.t.Helper()
	cmd.Env = append(cmd.Environ(), proctest.Service)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// send calls a method.
func (k *Keyring) send(path, method, dest string, args ...string) (string, error) {
	args = append([]string{"--bus=" + k.Address(), "--print-reply", "--dest=" + dest, path, method},
		args...)
	out, err := exec.CommandContext(k.t.Context(), "dbus-send", args...).CombinedOutput()
	return string(out), err
}

// await polls, for at most two minutes.
func (k *Keyring) await(problem string, done func() bool) {
	k.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			k.t.Fatal(problem)
		}
	}
}

// runtimeDir makes a folder whose path is short enough for a socket.
func runtimeDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func need(t testing.TB, program string) {
	t.Helper()
	installed.NeedProgram(t, "keyring", program, program+" is not installed: run make services")
}
