package interop

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// The parts that this test binary plays when a first argument says so.
const (
	asBridge  = "as-bridge"
	asBrowser = "as-browser"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case asBridge:
			os.Exit(playBridge(os.Args[2], os.Args[3], os.Args[4], os.Args[5]))
		case asBrowser:
			os.Exit(playBrowser(os.Args[2]))
		}
	}
	var err error
	if programs, err = os.MkdirTemp("", "handstamp-interop-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(programs); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// programs is the folder of what the tests build.
var programs string

// built builds the command once for all tests.
var built = sync.OnceValues(func() (string, error) {
	handstamp := filepath.Join(programs, "handstamp")
	build := exec.Command("go", "build", "-o", handstamp, "../../cmd/handstamp")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return handstamp, nil
})

// command returns the command, built from this tree.
func command(t *testing.T) string {
	t.Helper()
	handstamp, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return handstamp
}

// playBridge runs the command's bridge on its own standard input and output, and writes
// into dir what the bridge logs and how it ended. The MCP hosts start it in place of
// the command: most of them keep a server's exit code and log to themselves, and hand
// a server few variables of the environment.
func playBridge(handstamp, dir, home, url string) int {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer log.Close()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// An MCP host whose bridge is busy would get the sign-in placeholder, and list its tools.
	cmd := exec.Command(handstamp, "bridge", url, "--initialize-wait=50s")
	cmd.Env = append(os.Environ(), bridgeEnvironment(home)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, log
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(log, err)
		return 1
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	_ = cmd.Wait()
	ended := cmd.ProcessState.String()
	if err := os.WriteFile(filepath.Join(dir, "end"), []byte(ended), 0o600); err != nil {
		fmt.Fprintln(log, err)
	}
	return cmd.ProcessState.ExitCode()
}

// bridgeEnvironment returns what a command of the tests needs in its environment.
func bridgeEnvironment(home string) []string {
	return []string{"DBUS_SESSION_BUS_ADDRESS=disabled:", "HANDSTAMP_HOME=" + home, `HANDSTAMP_BROWSER="` + os.Args[0] + `" ` + asBrowser}
}

// playBrowser opens a page as a user whom the authorization server lets in without
// a form, and follows where it is sent.
func playBrowser(url string) int {
	resp, err := http.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, resp.Status, err)
		return 1
	}
	return 0
}
