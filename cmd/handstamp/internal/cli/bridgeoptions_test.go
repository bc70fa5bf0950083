//go:build unix

package cli

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

const bridgeHello = `{"jsonrpc":"2.0","id":%d,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}` + "\n"

// TestUserIsNotAwaitedOnceAnotherProcessHasSignedIn has two bridges begin signed out: the one that
// waits for the login of the other does not go on waiting for the user after it.
func TestUserIsNotAwaitedOnceAnotherProcessHasSignedIn(t *testing.T) {
	t.Parallel()
	c := newCommand(t)
	gate := c.server.Hold("authorize:received")
	_, first, firstOut, _ := c.start("bridge", c.server.MCPURL())
	defer first.Close()
	fmt.Fprintf(first, bridgeHello, 1)
	if _, err := gate.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, firstOut)
	// With the usual wait, a busy machine alone could have the placeholder's session begin.
	cmd, stdin, stdout, stderr := c.start("bridge", c.server.MCPURL(), "--initialize-wait", waitLimit.String())
	fmt.Fprintf(stdin, bridgeHello, 1)
	if hello := lineWith(t, stdout, `"id":1`); !strings.Contains(hello, `"name":"handstamp"`) {
		t.Errorf("initialize got the response %s", hello)
	}
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	lineWith(t, stderr, "Another process is ")
	gate.Release()
	lineWith(t, stdout, "notifications/tools/list_changed")
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	for !strings.Contains(lineWith(t, stdout, `"id":2`), "echo") {
		time.Sleep(50 * time.Millisecond)
		fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	}
	// A session that begins while the user is awaited is the placeholder's.
	fmt.Fprintf(stdin, bridgeHello, 3)
	if hello := lineWith(t, stdout, `"id":3`); strings.Contains(hello, `"name":"handstamp"`) {
		t.Errorf("the user is still awaited: initialize got the response %s", hello)
	}
	stdin.Close()
	if code := c.wait(cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestBridgeOpensNoBrowserByItself has the login end while the MCP host is idle: the pings that keep
// the session open do not bother the user, and the next call of a tool does.
func TestBridgeOpensNoBrowserByItself(t *testing.T) {
	t.Parallel()
	c := newCommand(t)
	if _, stderr, code := c.run("login", c.server.MCPURL()); code != 0 {
		t.Fatalf("login: %s", stderr)
	}
	cmd, stdin, stdout, stderr := c.start("bridge", c.server.MCPURL(), "--keep-alive", "--ping-interval", "1")
	go io.Copy(io.Discard, stderr)
	fmt.Fprintf(stdin, bridgeHello, 1)
	lineWith(t, stdout, `"id":1`)
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":0,"method":"tools/list"}`)
	lineWith(t, stdout, `"id":0`)
	c.server.RevokeFamilies()
	c.server.RevokeAccessTokens()
	c.server.Reset()
	for c.server.Counts()["mcp"] < 3 {
		time.Sleep(100 * time.Millisecond)
	}
	if n := c.server.Counts()["authorize"]; n != 0 {
		t.Errorf("%d tabs for pings", n)
	}
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`)
	if got := lineWith(t, stdout, `"id":2`); !strings.Contains(got, `"result"`) {
		t.Errorf("got %s", got)
	}
	if n := c.server.Counts()["authorize"]; n != 1 {
		t.Errorf("%d tabs for the call", n)
	}
	stdin.Close()
	if code := c.wait(cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
