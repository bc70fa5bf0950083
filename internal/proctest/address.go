package proctest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreePort returns a port of 127.0.0.1 that nothing listens on, below those that systems choose for
// listeners and connections by themselves, so that no other process gets it before the test uses it.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(6000)
		if listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// UnreachableAddress returns an address, host and port on loopback, at which connections are
// rejected until the test ends. The port belongs to a connection of its own, so that no listener
// of another test or process gets it meanwhile, as one does that was closed.
func UnreachableAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept() // else the end of the listener ends the connection
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		connection.Close()
		accepted.Close()
	})
	return connection.LocalAddr().String()
}
