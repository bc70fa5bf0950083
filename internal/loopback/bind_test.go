package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/proctest"
)

func TestRedirectURI(t *testing.T) {
	for _, c := range []struct {
		uri  string
		port int
		want string // with the port 8765 where one is chosen
		path string
		err  string
	}{
		{want: "http://127.0.0.1:8765/callback", path: "/callback"},
		{port: 99, want: "http://127.0.0.1:99/callback", path: "/callback"},
		{uri: "http://127.0.0.1/callback", want: "http://127.0.0.1:8765/callback", path: "/callback"},
		{uri: "http://localhost/callback", want: "http://localhost:8765/callback", path: "/callback"},
		{uri: "http://[::1]/", want: "http://[::1]:8765/", path: "/"},
		{uri: "http://127.0.0.1:99/oauth/callback", want: "http://127.0.0.1:99/oauth/callback", path: "/oauth/callback"},
		{uri: "http://localhost:99/cb", port: 99, want: "http://localhost:99/cb", path: "/cb"},
		{uri: "http://127.0.0.1:99", want: "http://127.0.0.1:99", path: "/"},
		{uri: "http://127.0.0.1", port: 99, want: "http://127.0.0.1:99", path: "/"},
		{uri: "http://LocalHost:99/A%20b", want: "http://LocalHost:99/A%20b", path: "/A%20b"},
		{uri: "HTTP://localhost:99/", want: "HTTP://localhost:99/", path: "/"},
		{uri: "http://127.0.0.1:80/", want: "http://127.0.0.1:80/", path: "/"},
		{port: -1, err: "not a port"},
		{port: 65536, err: "not a port"},
		{uri: "http://localhost:99/", port: 98, err: "another port"},
		{uri: "http://localhost:0/", err: "no valid port"},
		{uri: "http://localhost:65536/", err: "no valid port"},
		{uri: "http://localhost:x/", err: "cannot be parsed"},
		{uri: "https://localhost/", err: "does not begin with http://"},
		{uri: "myapp:/callback", err: "does not begin with http://"},
		{uri: "http:localhost", err: "does not begin with http://"},
		{uri: "urn:ietf:wg:oauth:2.0:oob", err: "does not begin with http://"},
		{uri: "http://app.example/callback", err: "leads neither"},
		{uri: "http://127.0.0.2/callback", err: "leads neither"},
		{uri: "http://0.0.0.0/callback", err: "leads neither"},
		{uri: "http://[::]/callback", err: "leads neither"},
		{uri: "http://localhost.evil.example/", err: "leads neither"},
		{uri: "http:///callback", err: "leads neither"},
		{uri: "http://user@localhost/", err: "parts other than"},
		{uri: "http://localhost/?a=b", err: "parts other than"},
		{uri: "http://localhost/?", err: "parts other than"},
		{uri: "http://localhost/#", err: "parts other than"},
	} {
		name := fmt.Sprintf("%q, %d", c.uri, c.port)
		r, err := parseRedirect(c.uri, c.port)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		port := r.port
		if port == 0 {
			port = 8765
		}
		if got := r.uri(port); got != c.want || r.path != c.path {
			t.Errorf("%s: %q and path %q, want %q and %q", name, got, r.path, c.want, c.path)
		}
	}
}

// occupy takes a port and returns it.
func occupy(t *testing.T, address string) int {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return portOf(l)
}

func TestPortTaken(t *testing.T) {
	port := occupy(t, "127.0.0.1:0")
	for _, o := range []Options{
		{Port: port},
		{RedirectURI: fmt.Sprintf("http://127.0.0.1:%d/callback", port)},
		{RedirectURI: fmt.Sprintf("http://localhost:%d/callback", port)},
		{RedirectURI: "http://localhost/", Port: port},
	} {
		o.Accept = new(stateChecker).accept
		l, err := Listen(t.Context(), o)
		var taken *PortTakenError
		if !errors.As(err, &taken) {
			if err == nil {
				l.Close()
			}
			t.Fatalf("%+v: %v", o, err)
		}
		if want := "127.0.0.1:" + strconv.Itoa(port); taken.Address != want || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v, want %s", taken, err, want)
		}
		if runtime.GOOS == "linux" && (taken.PID != os.Getpid() || taken.Program == "" || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid()))) {
			t.Errorf("the owner is process %d, %q, and not we, %d", taken.PID, taken.Program, os.Getpid())
		}
		if taken.Err == nil || errors.Unwrap(err) == nil {
			t.Error("the system's error is lost")
		}
	}
}

// TestTwinTaken has a user on the other loopback address, to which a browser
// might go as well.
func TestTwinTaken(t *testing.T) {
	if !hasIPv6() {
		t.Skip("this machine has no ::1, so there is no second address")
	}
	port := occupy(t, fmt.Sprintf("[::1]:%d", proctest.FreePort(t))) // which is free at 127.0.0.1
	_, err := Listen(t.Context(), Options{RedirectURI: fmt.Sprintf("http://localhost:%d/", port), Accept: new(stateChecker).accept})
	var taken *PortTakenError
	if !errors.As(err, &taken) || taken.Address != fmt.Sprintf("[::1]:%d", port) {
		t.Fatalf("%v", err)
	}
	// What was bound before that is given back.
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	// Who only names 127.0.0.1 has no twin.
	listen(t, Options{Port: port})
}

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		l.Close()
	}
	return err == nil
}

// TestLocalhost serves both addresses, for a browser may take either.
func TestLocalhost(t *testing.T) {
	l, _ := listen(t, Options{RedirectURI: "http://localhost/callback"})
	port := l.host[strings.LastIndex(l.host, ":"):]
	addresses := []string{"127.0.0.1" + port}
	if hasIPv6() {
		addresses = append(addresses, "[::1]"+port)
	}
	for _, address := range addresses {
		for host, want := range map[string]int{l.host: 400, "LOCALHOST" + port: 400, "127.0.0.1" + port: 403, "[::1]" + port: 403, "localhost." + port: 403, "x.localhost" + port: 403} {
			if a := send(t, l, request{address: address, host: host}); a.status != want {
				t.Errorf("%s as %s: %d, want %d", address, host, a.status, want)
			}
		}
	}
	succeed(t, l)
}

func TestIPv6Literal(t *testing.T) {
	if !hasIPv6() {
		t.Skip("this machine has no ::1")
	}
	l, _ := listen(t, Options{RedirectURI: "http://[::1]/callback"})
	if !strings.HasPrefix(l.RedirectURI(), "http://[::1]:") {
		t.Errorf("%q", l.RedirectURI())
	}
	succeed(t, l)
}

// TestMissingAddress stands for a machine without IPv6 (or without IPv4): these
// documentation addresses belong to no one.
func TestMissingAddress(t *testing.T) {
	for _, addresses := range [][]string{{"127.0.0.1", "2001:db8::1"}, {"192.0.2.1", "127.0.0.1"}} {
		sockets, port, err := bind(t.Context(), addresses, 0)
		if err != nil || len(sockets) != 1 || port == 0 {
			t.Fatalf("%q: %v, %v", addresses, sockets, err)
		}
		if host, _, _ := net.SplitHostPort(sockets[0].Addr().String()); host != "127.0.0.1" {
			t.Errorf("%q: bound %s", addresses, host)
		}
		sockets[0].Close()
	}
	if _, _, err := bind(t.Context(), []string{"192.0.2.1", "2001:db8::1"}, 0); err == nil || !strings.Contains(err.Error(), "no loopback address") {
		t.Error(err)
	}
}

// TestNotOutside looks from every address of this machine that is no loopback
// address.
func TestNotOutside(t *testing.T) {
	l, _ := listen(t, Options{RedirectURI: "http://localhost/"})
	port := l.host[strings.LastIndex(l.host, ":")+1:]
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLoopback() || ip.IP.IsLinkLocalUnicast() {
			continue
		}
		if c, err := net.Dial("tcp", net.JoinHostPort(ip.IP.String(), port)); err == nil {
			c.Close()
			t.Errorf("reachable at %s", ip.IP)
		}
	}
	if c, err := net.Dial("tcp", "127.0.0.2:"+port); err == nil {
		c.Close()
		t.Error("reachable at 127.0.0.2")
	}
}

func TestListenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Listen(ctx, Options{Accept: new(stateChecker).accept})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cancel() // bounds Listen, not the Listener
	succeed(t, l)
}

func TestOwnerTable(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lists the owners of sockets in /proc")
	}
	if pid, program := owner(occupy(t, "[::1]:0")); pid != os.Getpid() || program == "" {
		t.Errorf("process %d, %q", pid, program)
	}
}
