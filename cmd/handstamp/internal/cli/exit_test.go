package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

func TestKindOf(t *testing.T) {
	for _, test := range []struct {
		err  error
		code string
		exit int
	}{
		{errors.New("anything"), "error", 1},
		{usage("wrong: %w", fs.ErrNotExist), "usage", 2},
		{&handstamp.Error{Kind: handstamp.ErrInvalidConfig}, "usage", 2},
		{&handstamp.Error{Kind: handstamp.ErrUnreachable}, "unreachable", 3},
		{fmt.Errorf("wrapped: %w", context.DeadlineExceeded), "unreachable", 3},
		{&handstamp.Error{Kind: handstamp.ErrLoginRequired}, "auth_required", 4},
		{&handstamp.Error{Kind: handstamp.ErrClientRejected}, "client_rejected", 4},
		{&handstamp.Error{Kind: handstamp.ErrRegistrationRequired}, "registration_required", 4},
		{&handstamp.Error{Kind: handstamp.ErrDenied}, "denied", 5},
		{&handstamp.Error{Kind: handstamp.ErrTimeout}, "timeout", 5},
		{&handstamp.Error{Kind: handstamp.ErrProtocol}, "protocol", 6},
		{&handstamp.Error{Kind: handstamp.ErrStore}, "store", 7},
		{fmt.Errorf("x: %w", store.ErrUnusable), "store", 7},
		{fmt.Errorf("x: %w", store.ErrCorrupt), "store", 7},
		{fmt.Errorf("x: %w", record.ErrNewer), "store", 7},
		{advise(&handstamp.Error{Kind: handstamp.ErrDenied}, testTarget()), "denied", 5},
	} {
		if got := kindOf(test.err); got.code != test.code || got.exit != test.exit {
			t.Errorf("%v: %s, %d; want %s, %d", test.err, got.code, got.exit, test.code, test.exit)
		}
	}
}

func testTarget() *target {
	return &target{name: "linear", url: "https://mcp.linear.app/mcp", profile: "work", config: &serverConfig{}}
}

func TestFail(t *testing.T) {
	retry := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name       string
		err        error
		text, json string
		exit       int
	}{{
		name: "login required",
		err:  advise(&handstamp.Error{Kind: handstamp.ErrLoginRequired, Message: "not signed in", Hint: "sign in"}, testTarget()),
		text: "X Not signed in\n- Run: handstamp login linear --profile work\n",
		json: `{"error":{"code":"auth_required","message":"not signed in","hint":"sign in","server":"https://mcp.linear.app/mcp",` +
			`"command":"handstamp login linear --profile work","exit":4}}`,
		exit: 4,
	}, {
		name: "unreachable",
		err: advise(&handstamp.Error{Kind: handstamp.ErrUnreachable, Message: "the server is down", Hint: "try again in 2s",
			RetryAt: retry}, testTarget()),
		text: "X The server is down\n- Try again in 2s\n",
		json: `{"error":{"code":"unreachable","message":"the server is down","hint":"try again in 2s",` +
			`"server":"https://mcp.linear.app/mcp","retry_at":"2026-11-01T12:00:00Z","exit":3}}`,
		exit: 3,
	}, {
		name: "a text of a server",
		err:  &handstamp.Error{Kind: handstamp.ErrDenied, Message: "no: \x1b[31m\u202eevil\nline", Code: "access_denied"},
		text: "X no: \uFFFD[31m\uFFFDevil line\n",
		json: `{"error":{"code":"denied","message":"no: \u001b[31m\u202eevil\nline","oauth_error":"access_denied","exit":5}}`,
		exit: 5,
	}, {
		name: "the store, once",
		err:  &handstamp.Error{Kind: handstamp.ErrStore, Err: fmt.Errorf("%w: no space", store.ErrUnusable)},
		text: "X The credential store cannot be used: no space\n",
		json: `{"error":{"code":"store","message":"the credential store cannot be used: no space","exit":7}}`,
		exit: 7,
	}, {
		name: "a child's code",
		err:  exitStatus(42),
		exit: 42,
	}} {
		t.Run(test.name, func(t *testing.T) {
			for _, asJSON := range []bool{false, true} {
				var stderr bytes.Buffer
				a := newApp(Process{Stderr: &stderr})
				a.global.json = asJSON
				if got := a.fail(t.Context(), test.err); got != test.exit {
					t.Errorf("exit code %d, want %d", got, test.exit)
				}
				want := test.text
				if asJSON && test.json != "" {
					want = test.json + "\n"
					if !json.Valid(stderr.Bytes()) {
						t.Error("this is no JSON")
					}
				}
				if stderr.String() != want {
					t.Errorf("got  %q\nwant %q", stderr.String(), want)
				}
			}
		})
	}
}

func TestFailAfterInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	a := newApp(Process{Stderr: &stderr})
	if code := a.fail(ctx, &handstamp.Error{Kind: handstamp.ErrUnreachable}); code != 130 || stderr.String() != "X Interrupted\n" {
		t.Errorf("%d, %q", code, stderr.String())
	}
}

// noWriter is standard error that nothing can be written to.
type noWriter struct{}

func (noWriter) Write([]byte) (int, error) { return 0, errors.New("bad file descriptor") }

// A script gets the exit code, whether the error could be written or not.
func TestExitCodeWithoutStandardError(t *testing.T) {
	for _, args := range [][]string{
		{"token", "a.example"}, {"token", "a.example", "--json"}, {"status", "--json"}, {"token", "--json"}, {"token"},
	} {
		want := exitLogin
		if !slices.Contains(args, "a.example") && args[0] == "token" {
			want = exitUsage
		}
		code := Run(t.Context(), args, Process{Stderr: noWriter{},
			Environ: []string{"HANDSTAMP_STORE=file", "HANDSTAMP_HOME=" + t.TempDir()}})
		if code != want {
			t.Errorf("%q: exit code %d, want %d", args, code, want)
		}
	}
}
