package browser

import "os"

// isRemote reports whether we run in a session over SSH.
func isRemote() bool {
	return os.Getenv("SSH_CONNECTION") != "" || os.Getenv("SSH_TTY") != ""
}
