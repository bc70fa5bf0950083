package cli

import (
	"cmp"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/handstamp/handstamp/internal/oauth"
)

// tunnelCommand returns the command that brings the callback of a login from the user's machine to
// this one, where the user has come by SSH; "" where no tunnel is needed or helps.
func tunnelCommand(env environment, redirectURI string) string {
	// SSH_CONNECTION has the addresses and ports of the client and of this machine.
	connection := strings.Fields(env.get("SSH_CONNECTION"))
	u, err := url.Parse(redirectURI)
	if len(connection) != 4 || err != nil || u.Port() == "" || !oauth.IsLoopback(u.Hostname()) {
		return ""
	}
	name, _ := os.Hostname()
	host := cmp.Or(name, "this-machine")
	if addr, err := netip.ParseAddr(connection[2]); err == nil && !addr.IsLoopback() {
		host = addr.WithZone("").String()
	}
	if user := cmp.Or(env.get("USER"), env.get("LOGNAME")); user != "" {
		host = user + "@" + host
	}
	command := "ssh -N -L " + u.Port() + ":" + u.Host
	if port := connection[3]; port != "22" {
		command += " -p " + shellWord(port)
	}
	return command + " " + shellWord(host)
}
