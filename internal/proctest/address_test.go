package proctest

import (
	"net"
	"testing"
)

func TestUnreachableAddressStaysFree(t *testing.T) {
	address := UnreachableAddress(t)
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Fatalf("%s takes connections", address)
	}
	if l, err := net.Listen("tcp", address); err == nil {
		l.Close()
		t.Errorf("a listener got %s", address)
	}
}
