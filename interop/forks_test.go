package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// forks is a program that forks the servers of a virtual environment: forks.py. The tests
// share it, but no server: each has a process of its own.
type forks struct {
	address string
	stdin   io.Closer
	cmd     *exec.Cmd
	once    sync.Once
	err     error // why it did not start
}

// allForks are those of each virtual environment, which the first server starts.
var allForks = map[string]*forks{pythonSDK1: {}, pythonSDK2: {}}

// start starts the program and waits for its port.
func (f *forks) start(environment string) error {
	f.once.Do(func() { f.err = f.launch(environment) })
	return f.err
}

func (f *forks) launch(environment string) error {
	cmd := exec.Command(python(environment), "forks.py")
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	f.cmd, f.stdin = cmd, stdin
	port := 0
	if _, err := fmt.Fscanf(stdout, "port %d\n", &port); err != nil {
		return fmt.Errorf("forks.py, environment %s: %w", environment, err)
	}
	f.address = net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	return nil
}

// endForks ends the programs that were started, with what they have forked.
func endForks() error {
	var errs []error
	for environment, f := range allForks {
		if f.cmd == nil {
			continue
		}
		f.stdin.Close()
		if err := f.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("forks.py, environment %s: %w", environment, err))
		}
	}
	return errors.Join(errs...)
}

// forked starts a server of server.py, which ends with the test, and waits for its port.
func forked(t *testing.T, environment string, args []string) *program {
	t.Helper()
	f := allForks[environment]
	if err := f.start(environment); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, name: "server.py", stdin: conn, said: bufio.NewScanner(conn)}
	p.end = sync.OnceFunc(func() {
		defer conn.Close()
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil { // which ends it
			t.Errorf("server.py: %v", err)
			return
		}
		status := 0
		if p.hear("exit %d", &status); status != 0 {
			t.Errorf("server.py: exit status %d", status)
		}
	})
	t.Cleanup(p.end)
	if err := json.NewEncoder(conn).Encode(args); err != nil {
		t.Fatal(err)
	}
	return p.listening()
}
