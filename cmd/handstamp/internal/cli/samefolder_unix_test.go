//go:build unix

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store/filestore"
)

// goProgram is a program that uses the library: it opens the user's store, or the folder that
// its argument names, waits for a line, refreshes the login, and reports how that went.
func goProgram() int {
	open := func() (*filestore.Store, error) { return filestore.User(filestore.Options{}) }
	if dir := os.Args[1]; dir != "user" {
		open = func() (*filestore.Store, error) { return filestore.Open(filestore.Options{Dir: dir}) }
	}
	s, err := open()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c := &handstamp.Client{Store: s, LoginPolicy: handstamp.LoginNever}
	fmt.Println("ready")
	if _, err := fmt.Scanln(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	_, err = c.Token(ctx, os.Args[2], handstamp.TokenOptions{Refresh: true})
	if closeErr := c.Close(ctx); err == nil {
		err = closeErr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Programs that use the library and the command, at once on the user's folder, however each
// names it, send each refresh token once: the server, which ends a login whose refresh token
// comes twice, does not end it.
func TestGoProgramBesideTheCommand(t *testing.T) {
	for _, where := range []string{"HANDSTAMP_HOME", "XDG"} {
		t.Run(where, func(t *testing.T) {
			c := newCommand(t)
			if where == "XDG" {
				if err := os.MkdirAll(c.home+"/run", 0o700); err != nil {
					t.Fatal(err)
				}
				c.env = []string{"HANDSTAMP_HOME=", "HOME=" + c.home, "XDG_DATA_HOME=", "XDG_STATE_HOME=" + c.home + "/state",
					"XDG_CONFIG_HOME=", "XDG_RUNTIME_DIR=" + c.home + "/run"}
			}
			c.login()
			folders := c.status().Folders
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(folders.Credentials, link); err != nil {
				t.Fatal(err)
			}
			for round := range 3 {
				type program struct {
					cmd    *exec.Cmd
					stderr io.Reader
				}
				var programs []program
				var inputs []io.Writer
				for _, opened := range []string{"user", folders.Credentials, link, "user"} {
					cmd, stdin, stdout, stderr := c.startWithin(5*time.Minute, "goprogram", opened, c.server.MCPURL())
					lineWith(t, stdout, "ready")
					programs, inputs = append(programs, program{cmd, stderr}), append(inputs, stdin)
				}
				for i, input := range inputs {
					cmd, stdin, _, stderr := c.start("token", c.server.MCPURL(), "--refresh")
					stdin.Close()
					programs = append(programs, program{cmd, stderr})
					if _, err := fmt.Fprintln(input); err != nil {
						t.Fatalf("program %d: %v", i, err)
					}
				}
				for i, p := range programs {
					text, _ := io.ReadAll(p.stderr)
					if code := c.wait(p.cmd); code != 0 {
						t.Errorf("round %d, process %d: exit code %d\n%s", round, i, code, text)
					}
				}
			}
			if a := c.server.Audit(); a.Reuses != 0 || a.Refreshes == 0 {
				t.Errorf("%d refreshes, and %d times a refresh token that had been used", a.Refreshes, a.Reuses)
			}
			if _, stderr, code := c.run("token", c.server.MCPURL(), "--refresh"); code != 0 {
				t.Errorf("the login is lost: exit code %d\n%s", code, stderr)
			}
		})
	}
}

// statusOutput is a part of what status --json prints.
type statusOutput struct {
	State   string
	Folders struct{ Config, Credentials, Locks, Spare string }
}

func (c *command) status() (out statusOutput) {
	c.t.Helper()
	text, stderr, code := c.run("status", "--json", c.server.MCPURL())
	if err := json.Unmarshal([]byte(text), &out); err != nil || code != 0 {
		c.t.Fatalf("status: %d, %v\n%s%s", code, err, text, stderr)
	}
	return out
}

// status --json names the folders, for one server and for all.
func TestStatusNamesTheFolders(t *testing.T) {
	c := newCommand(t)
	if err := os.MkdirAll(c.home+"/run", 0o700); err != nil {
		t.Fatal(err)
	}
	c.env = []string{"HANDSTAMP_HOME=", "HOME=" + c.home, "XDG_DATA_HOME=", "XDG_CONFIG_HOME=", "XDG_RUNTIME_DIR=" + c.home + "/run"}
	c.login()
	credentials := c.home + "/.local/share/handstamp"
	want := struct{ Config, Credentials, Locks, Spare string }{
		c.home + "/.config/handstamp", credentials, credentials + "/locks", c.home + "/run/handstamp",
	}
	if got := c.status().Folders; got != want {
		t.Errorf("folders are %+v, want %+v", got, want)
	}
	text, _, _ := c.run("status", "--json")
	var all struct {
		Servers []statusOutput
		Folders struct{ Config, Credentials, Locks, Spare string }
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all.Servers) != 1 || all.Folders != want {
		t.Errorf("%v\n%s", err, text)
	}
	text, _, _ = c.run("status", "--json", "--store", "memory")
	if strings.Contains(text, "folders") {
		t.Errorf("the memory store has folders:\n%s", text)
	}
}

// A command with another user's runtime folder works, and warns once.
func TestCommandWithInheritedRuntimeDir(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	c := newCommand(t)
	theirs := filepath.Join(t.TempDir(), "theirs")
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(theirs, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	c.env = []string{"HANDSTAMP_HOME=", "HOME=" + c.home, "XDG_DATA_HOME=", "XDG_CONFIG_HOME=", "XDG_RUNTIME_DIR=" + theirs}
	for _, args := range [][]string{{"login"}, {"token", "--refresh"}, {"call"}, {"status"}, {"logout"}} {
		args = append([]string{args[0], c.server.MCPURL()}, args[1:]...)
		if args[0] == "call" {
			args = []string{"call", c.server.MCPURL(), "echo", "text=hello"}
		}
		_, stderr, code := c.run(args...)
		if code != 0 || strings.Count(stderr, "XDG_RUNTIME_DIR") != 1 || strings.Count(stderr, theirs) != 1 {
			t.Errorf("%q: exit code %d, and not one warning\n%s", args, code, stderr)
		}
	}
	if entries, err := os.ReadDir(theirs); err != nil || len(entries) != 0 {
		t.Errorf("the folder has %v (%v)", entries, err)
	}
}
