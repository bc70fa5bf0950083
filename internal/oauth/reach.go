package oauth

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Reach is a set of addresses that a host may have. Each value includes those before it.
type Reach int

// Values of [Reach].
const (
	ReachPublic  Reach = iota // addresses of servers on the internet
	ReachPrivate              // and of private networks
	ReachLocal                // and of this computer
	ReachAny                  // and all others, such as the link-local ones of cloud metadata
)

// checkHost returns a [*BlockedError] unless a host, as in a URL without the port, is within reach
// by its name alone. [Guard] checks the addresses that a name resolves to.
func checkHost(host string, reach Reach) error {
	if HostReach(host) > reach {
		return &BlockedError{Host: host}
	}
	return nil
}

// HostReach returns the reach that a host needs by its name alone. A number that some resolvers and
// browsers read as an address (RFC 3986 section 7.4) needs [ReachAny], and so does a name with
// characters that a browser converts to others, such as full-width digits.
func HostReach(host string) Reach {
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return AddrReach(addr)
	}
	if strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return ReachAny
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	if err == nil || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return ReachAny
	}
	switch last {
	case "localhost", "localdomain":
		return ReachLocal
	case "local", "internal", "lan", "home", "arpa", "intranet", "corp", "private", host: // host: without a dot
		return ReachPrivate
	}
	return ReachPublic
}

// AddrReach returns the reach that an address needs.
func AddrReach(addr netip.Addr) Reach {
	if isPublic(addr) {
		return ReachPublic
	}
	addr = addr.WithZone("").Unmap()
	if nat64.Contains(addr) {
		// The addresses of IPv4 servers in a network that has IPv6 only (RFC 6052).
		bytes := addr.As16()
		if inner, ok := netip.AddrFromSlice(bytes[12:]); ok && isPublic(inner) {
			return ReachPublic
		}
	}
	if addr.IsLoopback() {
		return ReachLocal
	}
	if within(addr, privateNetworks) && !within(addr, cloudMetadata) {
		return ReachPrivate
	}
	return ReachAny
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func within(addr netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// privateNetworks are those of RFC 1918, RFC 4193 and RFC 6598.
var privateNetworks = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
	"fc00::/7")

// cloudMetadata are addresses within those at which a cloud serves credentials to its machines.
var cloudMetadata = prefixes("fd00:ec2::254/128", "100.100.100.200/32")

// isPublic reports whether an address may belong to a server on the internet. An address with
// another address inside it is not public.
func isPublic(addr netip.Addr) bool {
	addr = addr.WithZone("")
	if !addr.IsValid() || addr.Is4In6() {
		return false
	}
	return !within(addr, notPublic)
}

// notPublic follows the IANA special-purpose address registries (RFC 6890).
var notPublic = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/96",        // unspecified, loopback, IPv4-compatible
	"64:ff9b::/96", // NAT64
	"64:ff9b:1::/48",
	"100::/64",
	"2001::/23", // protocol assignments, among them Teredo
	"2001:db8::/32",
	"2002::/16", // 6to4
	"3fff::/20",
	"5f00::/16",
	"fc00::/7",
	"fe80::/10",
	"fec0::/10", // site-local, deprecated and still routed in places
	"ff00::/8",
)

func prefixes(texts ...string) []netip.Prefix {
	ps := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		ps[i] = netip.MustParsePrefix(t)
	}
	return ps
}
