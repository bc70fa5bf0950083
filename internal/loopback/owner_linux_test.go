package loopback

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"testing"
)

// Our user has the uid 1000 and listens at 127.0.0.1:8400.
const connections = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:20D0 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 100 1 000000007da70f2e 100 0 0 10 0
   1: 0100007F:20D0 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 101 1 000000007da70f2e 20 4 30 10 -1
   2: 0100007F:C001 0100007F:20D0 01 00000000:00000000 00:00000000 00000000  1001        0 102 1 000000007da70f2e 20 4 30 10 -1
   3: 0100007F:C002 0100007F:20D0 01 00000000:00000000 00:00000000 00000000  1000        0 103 1 000000007da70f2e 20 4 30 10 -1
   4: 0100007F:C003 0100007F:20D0 01 00000000:00000000 00:00000000 00000000     0        0 104 1 000000007da70f2e 20 4 30 10 -1
   5: 0100007F:C004 0100007F:20D0 05 00000000:00000000 00:00000000 00000000     0        0 0 1 000000007da70f2e 20 4 30 10 -1
   6: 0100007F:C005 0100007F:20D1 01 00000000:00000000 00:00000000 00000000  1001        0 105 1 000000007da70f2e 20 4 30 10 -1
   7: 0100007F:C006 0100007F:20D0 06 00000000:00000000 03:00000A8C 00000000     0        0 0 3 000000007da70f2e
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000100007F:C007 0000000000000000FFFF00000100007F:20D0 01 00000000:00000000 00:00000000 00000000  1001        0 106 1 000000007da70f2e 20 4 30 10 -1
   1: 0000000000000000FFFF00000100007F:C008 0000000000000000FFFF00000100007F:20D0 01 00000000:00000000 00:00000000 00000000  1000        0 107 1 000000007da70f2e 20 4 30 10 -1
   2: 00000000000000000000000001000000:C009 00000000000000000000000001000000:20D0 01 00000000:00000000 00:00000000 00000000  1001        0 108 1 000000007da70f2e 20 4 30 10 -1
`

func TestIsOtherUser(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the table is that of a little-endian machine")
	}
	for client, c := range map[string]struct {
		server string
		want   bool
	}{
		"127.0.0.1:49153": {"127.0.0.1:8400", true},
		"127.0.0.1:49154": {"127.0.0.1:8400", false}, // ours
		"127.0.0.1:49155": {"127.0.0.1:8400", false}, // root's
		"127.0.0.1:49156": {"127.0.0.1:8400", true},  // closed
		"127.0.0.1:49157": {"127.0.0.1:8400", false}, // to another port: not known
		"127.0.0.1:49158": {"127.0.0.1:8400", true},  // closed, and waits for its time
		"127.0.0.1:49159": {"127.0.0.1:8400", true},  // at an IPv6 socket
		"127.0.0.1:49160": {"127.0.0.1:8400", false},
		"[::1]:49161":     {"[::1]:8400", true},
		"127.0.0.2:49153": {"127.0.0.1:8400", false}, // not known
		"127.0.0.1:49170": {"127.0.0.1:8400", false},
	} {
		got := isOtherUser(connections, netip.MustParseAddrPort(client), netip.MustParseAddrPort(c.server), 1000)
		if got != c.want {
			t.Errorf("%s: %v", client, got)
		}
	}
	if isOtherUser("", netip.MustParseAddrPort("127.0.0.1:49153"), netip.MustParseAddrPort("127.0.0.1:8400"), 1000) {
		t.Error("without a table it is known")
	}
	for _, address := range []string{"", "@", "pipe", "127.0.0.1"} {
		if IsOtherUser(address, "127.0.0.1:8400") || IsOtherUser("127.0.0.1:49153", address) {
			t.Errorf("of %q it is known", address)
		}
	}
}

// TestConnectionIsInTheTable of this system.
func TestConnectionIsInTheTable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client, server := c.LocalAddr().String(), l.Addr().String()
	if IsOtherUser(client, server) {
		t.Error("a connection of ours is another user's")
	}
	if us := os.Getuid(); us != 0 && !isOtherUser(socketTable(), netip.MustParseAddrPort(client), netip.MustParseAddrPort(server), us+1) {
		t.Error("for another user, a connection of ours is not another user's")
	}
}
