package proctest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

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

// FreePort returns a port of loopback that no program has, below those that systems give to
// connections by themselves: no other process gets it by chance before it is used, or while it is
// not in use for a time.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}
