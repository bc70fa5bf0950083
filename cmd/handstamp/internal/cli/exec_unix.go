//go:build unix

package cli

import "syscall"

// runChild turns this process into the command: signals, job control and the
// exit code are then the command's own, and nothing stays in between. It only
// returns if that fails.
func runChild(_ *app, path string, argv []string, env environment) error {
	return notStarted(argv[0], syscall.Exec(path, argv, env))
}
