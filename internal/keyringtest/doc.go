// Package keyringtest runs a real keyring for tests: GNOME Keyring on a session bus of its own, and
// buses on which something is wrong. Only tests import it.
package keyringtest
