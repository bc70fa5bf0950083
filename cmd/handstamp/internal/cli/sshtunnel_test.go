package cli

import (
	"os"
	"testing"
)

// The tunnel of a user who has come by SSH brings the callback's port to this machine.
func TestTunnelToTheCallback(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Skip("this machine has no name: ", err)
	}
	const callback = "http://127.0.0.1:41234/callback"
	for _, test := range []struct {
		connection, user, redirect, want string
	}{
		{"192.0.2.7 50000 192.0.2.9 22", "ann", callback,
			"ssh -N -L 41234:127.0.0.1:41234 ann@192.0.2.9"},
		{"192.0.2.7 50000 192.0.2.9 2222", "ann", "http://localhost:3334/oauth/callback",
			"ssh -N -L 3334:localhost:3334 -p 2222 ann@192.0.2.9"},
		{"2001:db8::7 50000 2001:db8::9 22", "", "http://[::1]:41234/callback",
			"ssh -N -L 41234:[::1]:41234 2001:db8::9"},
		{"::1 50000 ::1 22", "ann", callback, "ssh -N -L 41234:127.0.0.1:41234 ann@" + name},
		{"192.0.2.7 50000 192.0.2.9 $(id)", "ann smith", callback,
			"ssh -N -L 41234:127.0.0.1:41234 -p '$(id)' 'ann smith@192.0.2.9'"},
		{"192.0.2.7 50000 192.0.2.9 22", "ann", "https://app.example/callback", ""},
		{"192.0.2.7 50000 192.0.2.9 22", "ann", "http://127.0.0.1/callback", ""},
		{"", "ann", callback, ""},
		{"192.0.2.7", "ann", callback, ""},
	} {
		env := environment{"SSH_CONNECTION=" + test.connection, "USER=" + test.user}
		if got := tunnelCommand(env, test.redirect); got != test.want {
			t.Errorf("%q, %s: %q, want %q", test.connection, test.redirect, got, test.want)
		}
	}
}
