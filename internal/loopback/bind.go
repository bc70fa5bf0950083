package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// PortTakenError reports that another process listens on the port of the redirect URI: another
// sign-in, another program, or one that waits to steal the authorization response.
type PortTakenError struct {
	Address string // with the port: "127.0.0.1:8765"
	PID     int    // the process that listens there; 0 if it cannot be found
	Program string // that process's name, sanitized; may be empty
	Err     error  // the system's
}

// Error names the address and the process.
func (e *PortTakenError) Error() string {
	owner := ""
	switch {
	case e.PID != 0 && e.Program != "":
		owner = fmt.Sprintf(" by %s (process %d)", e.Program, e.PID)
	case e.PID != 0:
		owner = fmt.Sprintf(" by process %d", e.PID)
	}
	return "loopback: " + e.Address + " is taken" + owner
}

// Unwrap returns the error of the system.
func (e *PortTakenError) Unwrap() error { return e.Err }

// bindTries is how many free ports of one address are tried until the same port of the other
// address is free too.
const bindTries = 16

// bind listens on port of all addresses; port 0 means one that is free on all. Addresses that the
// machine lacks are left out as long as it has one of them.
func bind(ctx context.Context, addresses []string, port int) ([]net.Listener, int, error) {
	for try := 1; ; try++ {
		listeners, err := bindOnce(ctx, addresses, port)
		if err == nil {
			return listeners, portOf(listeners[0]), nil
		}
		var taken *PortTakenError
		if port != 0 || try == bindTries || !errors.As(err, &taken) {
			return nil, 0, err
		}
	}
}

func bindOnce(ctx context.Context, addresses []string,
	port int) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
		}
	}()
	config := net.ListenConfig{Control: exclusive}
	var missing error
	for _, address := range addresses {
		network := "tcp4"
		if strings.Contains(address, ":") {
			network = "tcp6"
		}
		full := net.JoinHostPort(address, strconv.Itoa(port))
		l, err := config.Listen(ctx, network, full)
		switch {
		case err == nil:
			listeners = append(listeners, l)
			port = portOf(l)
		case isTaken(err):
			taken := &PortTakenError{Address: full, Err: err}
			taken.PID, taken.Program = owner(port)
			return listeners, taken
		case isMissing(err):
			missing = err
		default:
			return listeners, fmt.Errorf("loopback: cannot listen on %s: %w", full, err)
		}
	}
	if len(listeners) == 0 {
		return nil, fmt.Errorf("loopback: this machine has no loopback address to listen on: %w",
			missing)
	}
	return listeners, nil
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
