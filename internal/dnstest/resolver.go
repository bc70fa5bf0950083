// Package dnstest has a name server for tests.
package dnstest

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
)

// Resolver returns a resolver whose name server, on loopback, has one IPv4 address for every name:
// the first for the first look-up, and so on. The last stays.
func Resolver(t testing.TB, addresses ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	next := make([][4]byte, len(addresses))
	for i, a := range addresses {
		next[i] = netip.MustParseAddr(a).As4()
	}
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			end := 12 // of the question
			for end < n && query[end] != 0 {
				end += int(query[end]) + 1
			}
			if end+5 > n {
				continue
			}
			question := query[12 : end+5]
			reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
			if binary.BigEndian.Uint16(question[len(question)-4:]) == 1 { // for IPv4
				reply[7] = 1
				reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
				reply = append(reply, next[0][:]...)
				next = next[min(1, len(next)-1):]
			}
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", conn.LocalAddr().String())
	}}
}
