package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/rogpeppe/go-internal/testscript"
)

// processes looks at what every process of the tests carries. A client secret
// and a token may be in the variables that are documented for that, where a test
// sets them, and a token in the one that exec was given a name for; the servers
// of "lab run" and "demo" are in processes of their own, so that their secrets
// are known by what they look like.
var processes = proctest.Sampler{
	Inputs:  []string{"HANDSTAMP_CLIENT_SECRET", "HANDSTAMP_ACCESS_TOKEN", "WHERE", "CONF_SECRET", "CANARY_ONE"},
	Outputs: []string{"TOKEN", "LINEAR_TOKEN"},
	Shape:   regexp.MustCompile(`\b(code|secret|refresh|access|management)-[A-Z2-7]{26}`),
}

// TestMain makes programs of the test binary: the command itself, a browser with a user in front of it,
// an MCP host, and others.
func TestMain(m *testing.M) {
	if strings.Contains(filepath.Base(os.Args[0]), ".test") { // not in what the tests start
		os.Setenv("DBUS_SESSION_BUS_ADDRESS", "disabled:") // the keyring of whoever runs the tests
		testenv.SideBySide()
		proctest.Prepare()
	}
	processes.Add("correct-horse", "battery-staple", "from-elsewhere")
	testscript.Main(processes.Wrap(m), map[string]func(){
		"handstamp":  func() { os.Exit(runProcess()) },
		"labbrowser": func() { os.Exit(browse(os.Args[len(os.Args)-1])) },
		"labhost":    func() { os.Exit(playHost()) },
		"lockholder": func() { os.Exit(holdLock()) },
		"goprogram":  func() { os.Exit(goProgram()) },
	})
}

// runProcess is main, with everything that is written kept for the search for
// secrets.
func runProcess() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	stdout, stderr := io.Writer(os.Stdout), io.Writer(os.Stderr)
	if path := os.Getenv("TEST_TRANSCRIPT"); path != "" {
		transcript, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 99
		}
		fmt.Fprintf(transcript, "$ %q\n", os.Args)
		stderr = io.MultiWriter(stderr, transcript)
		if len(os.Args) < 2 || os.Args[1] != "token" {
			stdout = io.MultiWriter(stdout, transcript)
		}
	}
	exe, _ := exec.LookPath("handstamp")
	return Run(ctx, os.Args[1:], Process{Stdin: os.Stdin, Stdout: stdout, Stderr: stderr, Environ: os.Environ(), Executable: exe})
}

func browse(url string) int {
	if path := os.Getenv("TEST_BROWSED"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(f, url)
			err = f.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if path := os.Getenv("TEST_BROWSER_ENV"); path != "" {
		err := os.WriteFile(path+".tmp", []byte(strings.Join(os.Environ(), "\n")), 0o600)
		if err == nil {
			err = os.Rename(path+".tmp", path)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if _, err := lab.Browse(context.Background(), url); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// playHost runs the command line that its arguments are as an MCP host runs a bridge: the command gets
// the host's standard input, which ends once each request has a response.
func playHost() int {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stderr = os.Stderr
	messages, err := io.ReadAll(os.Stdin)
	stdin, inErr := cmd.StdinPipe()
	stdout, outErr := cmd.StdoutPipe()
	if err = errors.Join(err, inErr, outErr); err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = stdin.Write(messages)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	due := bytes.Count(messages, []byte(`"id":`))
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		fmt.Println(lines.Text())
		if strings.Contains(lines.Text(), `"id":`) {
			due--
		}
		if due == 0 {
			stdin.Close()
		}
	}
	stdin.Close()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"HANDSTAMP_HOME":           filepath.Join(env.WorkDir, "home"),
				"HANDSTAMP_BROWSER":        "labbrowser",
				"DBUS_SESSION_BUS_ADDRESS": "disabled:",
				"TEST_TRANSCRIPT":          filepath.Join(env.WorkDir, ".transcript"),
				"TEST_BROWSED":             filepath.Join(env.WorkDir, ".browsed"),
				"GORACE":                   os.Getenv("GORACE"),
			} {
				env.Setenv(name, value)
			}
			exe, err := exec.LookPath("handstamp")
			if err != nil {
				return err
			}
			env.Setenv("HANDSTAMP", exe)
			mark, value, _ := strings.Cut(processes.Mark(), "=")
			env.Setenv(mark, value)
			world := &scriptWorld{transcript: env.Getenv("TEST_TRANSCRIPT")}
			env.Values[worldKey{}] = world
			env.Defer(func() { world.close(env.T()) })
			return nil
		},
		Condition: scriptCondition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":    cmdCode,
			"lab":     cmdLab,
			"age":     cmdAge,
			"mode":    cmdMode,
			"record":  cmdRecord,
			"expand":  cmdExpand,
			"foreign": cmdForeign,
			"key":     cmdKey,
		},
	})
}
