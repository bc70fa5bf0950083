package bridge_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// namespaceVariable is set in a process that has a network of its own.
const namespaceVariable = "HANDSTAMP_TEST_NETWORK"

// inNamespace runs the test once more in a process with a network of its own, from which no
// packet leaves this machine. It reports whether this is that process.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceVariable) != "" {
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skipf("networks are made with iproute2: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.parallel=64", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), namespaceVariable+"=1", "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	output, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("this system gives a process no network of its own: %v", err)
	}
	t.Logf("%s", output)
	if strings.Contains(string(output), noNetwork) {
		t.Skip(noNetwork)
	}
	if err != nil {
		t.Error(err)
	}
	return false
}

// noNetwork is the output of a process that may not set its network up.
const noNetwork = "this system lets a process of its own network not set it up"

// A namespace is a network: a thread that does in it what it is given.
type namespace struct {
	thread int
	work   chan func()
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		n.thread = syscall.Gettid()
		made <- err
		if err != nil {
			return
		}
		for f := range n.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		t.Skipf("%s: %v", noNetwork, err)
	}
	t.Cleanup(func() { close(n.work) })
	return n
}

func (n *namespace) do(f func()) {
	done := make(chan struct{})
	n.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// ip runs "ip" with the lines as its commands. A nil namespace is the process's own.
func (n *namespace) ip(lines ...string) error {
	var err error
	run := func() {
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
		if output, failed := cmd.CombinedOutput(); failed != nil {
			err = fmt.Errorf("ip %q: %w: %s", lines, failed, output)
		}
	}
	if n == nil {
		run()
	} else {
		n.do(run)
	}
	return err
}

// network is this process, a router, and the machine with the servers behind that:
//
//	10.7.0.2 — 10.7.0.1 [router] 10.8.0.1 — 10.8.0.2
//
// The router forgets connections on demand, as NAT does.
type network struct{ router, servers *namespace }

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{newNamespace(t), newNamespace(t)}
	here := (*namespace)(nil)
	forward := func() (err error) {
		n.router.do(func() { err = os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
		return err
	}
	for _, step := range []func() error{
		func() error {
			return here.ip("link set lo up", "link add c0 type veth peer name r0",
				fmt.Sprint("link set r0 netns ", n.router.thread), "addr add 10.7.0.2/24 dev c0", "link set c0 up",
				"route add default via 10.7.0.1")
		},
		func() error {
			return n.router.ip("addr add 10.7.0.1/24 dev r0", "link set r0 up", "link add r1 type veth peer name s0",
				fmt.Sprint("link set s0 netns ", n.servers.thread), "addr add 10.8.0.1/24 dev r1", "link set r1 up")
		},
		func() error {
			return n.servers.ip("link set lo up", "addr add 10.8.0.2/24 dev s0", "addr add 10.8.0.3/24 dev s0", "link set s0 up",
				"route add default via 10.8.0.1")
		},
		forward,
		// What forgetting takes: tried on a port that nothing has.
		func() error { return n.router.ip("rule add pref 5 iif r0 ipproto tcp sport 1 blackhole") },
	} {
		if err := step(); err != nil {
			t.Skipf("%s: %v", noNetwork, err)
		}
	}
	return n
}

// listen listens on the machine of the servers.
func (n *network) listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var l net.Listener
	var err error
	n.servers.do(func() { l, err = net.Listen("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// forget has the router drop, without a word, the packets of connections to a port, in both
// directions or only those from here.
func (n *network) forget(t *testing.T, oneWay bool, to string, ports []string) {
	t.Helper()
	var rules []string
	for _, port := range ports {
		rules = append(rules, "rule add pref 5 iif r0 ipproto tcp sport "+port+" dport "+to+" blackhole")
		if !oneWay {
			rules = append(rules, "rule add pref 5 iif r1 ipproto tcp sport "+to+" dport "+port+" blackhole")
		}
	}
	if err := n.router.ip(rules...); err != nil {
		t.Error(err)
	}
}
