package oauth

import (
	"net/netip"
	"testing"
)

func TestReachOfHosts(t *testing.T) {
	for host, want := range map[string]Reach{
		"64:ff9b::808:808": ReachPublic, "64:ff9b::7f00:1": ReachAny, "64:ff9b:1::808:808": ReachAny, "2002:808:808::": ReachAny,
		"example.com": ReachPublic, "8.8.8.8": ReachPublic, "[2606:4700:4700::1111]": ReachPublic,
		"10.0.0.1": ReachPrivate, "172.31.0.1": ReachPrivate, "192.168.1.1": ReachPrivate, "100.64.0.1": ReachPrivate,
		"fd12::1": ReachPrivate, "[fd12::1]": ReachPrivate, "::ffff:10.0.0.1": ReachPrivate,
		"keycloak": ReachPrivate, "nas.local": ReachPrivate, "sso.corp": ReachPrivate, "a.internal.": ReachPrivate, "x.home.arpa": ReachPrivate,
		"localhost": ReachLocal, "LOCALHOST.": ReachLocal, "a.localhost": ReachLocal, "127.8.8.8": ReachLocal, "[::1]": ReachLocal,
		"::ffff:127.0.0.1": ReachLocal,
		"":                 ReachAny, "169.254.169.254": ReachAny, "[fe80::1]": ReachAny, "fe80::1%eth0": ReachAny, "::ffff:169.254.169.254": ReachAny,
		"fd00:ec2::254": ReachAny, "100.100.100.200": ReachAny, "0.0.0.0": ReachAny, "::": ReachAny, "224.0.0.1": ReachAny,
		"127.0.0.\uff11": ReachAny, "\uff4c\uff4f\uff43\uff41\uff4chost": ReachAny, "127\u30020\u30020\u30021": ReachAny, "a%2elocalhost": ReachAny,
		"localhost..": ReachAny, "127.0.0.1.": ReachLocal, "mcp_1.example.com": ReachPublic, "xn--bcher-kva.example": ReachPublic,
		"2130706433": ReachAny, "0x7f.1": ReachAny, "127.1": ReachAny, "017700000001": ReachAny, "64:ff9b::a00:1": ReachAny,
	} {
		if got := HostReach(host); got != want {
			t.Errorf("%q: reach %d, want %d", host, got, want)
		}
		for _, reach := range []Reach{ReachPublic, ReachPrivate, ReachLocal, ReachAny} {
			if err := checkHost(host, reach); (err == nil) != (want <= reach) {
				t.Errorf("%q within reach %d: %v", host, reach, err)
			}
		}
	}
	if AddrReach(netip.Addr{}) != ReachAny {
		t.Error("no address is within reach")
	}
}

// What a user may allow is never link-local.
func TestWhatMayBeAllowed(t *testing.T) {
	for blocked, want := range map[BlockedError]bool{
		{Host: "10.0.0.1"}: true, {Host: "localhost"}: true, {Host: "169.254.169.254"}: false, {Host: "2130706433"}: false,
		{Host: "sso.example", Address: "10.0.0.1:443"}: true, {Host: "sso.example", Address: "169.254.169.254:443"}: false,
	} {
		if got := blocked.Allowable(); got != want {
			t.Errorf("%v: allowable %t", &blocked, got)
		}
	}
}
