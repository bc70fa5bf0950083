package lab_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// refreshRequest is a refresh that would work.
func (c *hand) refreshRequest(token string) *http.Request {
	return c.tokenRequest(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// TestFaults meets each fault at a refresh, and looks whether the refresh token
// was used.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		fault lab.Fault
		check func(t *testing.T, answer reply, err error)
		used  bool
	}{
		{lab.Fault{Kind: lab.FaultStatus}, status(500, "text/plain; charset=utf-8", ""), false},
		{lab.Fault{Kind: lab.FaultStatus, Status: 429, RetryAfter: "7"}, func(t *testing.T, answer reply, err error) {
			if err != nil || answer.status != 429 || answer.header.Get("Retry-After") != "7" {
				t.Errorf("%d %v %v", answer.status, answer.header, err)
			}
		}, false},
		{lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"temporarily_unavailable"}`},
			status(400, "application/json", "temporarily"), false},
		{lab.Fault{Kind: lab.FaultHTML}, status(200, "text/html; charset=utf-8", "<h1>"), false},
		{lab.Fault{Kind: lab.FaultHTML, Status: 502}, status(502, "text/html; charset=utf-8", "<h1>"), false},
		{lab.Fault{Kind: lab.FaultRedirect, Location: "http://127.0.0.1:1/"}, func(t *testing.T, answer reply, err error) {
			if err != nil || answer.status != 307 || answer.header.Get("Location") != "http://127.0.0.1:1/" {
				t.Errorf("%d %v", answer.status, err)
			}
		}, false},
		{lab.Fault{Kind: lab.FaultCutBefore}, cut, false},
		{lab.Fault{Kind: lab.FaultCutAfter}, cut, true},
		{lab.Fault{Kind: lab.FaultCutBody}, func(t *testing.T, answer reply, err error) {
			if !errors.Is(err, io.ErrUnexpectedEOF) || answer.status != 200 || !strings.HasPrefix(answer.raw, "{") || answer.document != nil {
				t.Errorf("%d %v %s", answer.status, err, answer.raw)
			}
		}, true},
		{lab.Fault{Kind: lab.FaultDelay, Delay: time.Millisecond}, status(200, "application/json", "access_token"), true},
		{lab.Fault{Kind: lab.FaultType}, status(200, "text/plain; charset=utf-8", "access_token"), true},
		{lab.Fault{Kind: lab.FaultDrip, Delay: time.Microsecond}, status(200, "application/json", "access_token"), true},
		{lab.Fault{Kind: lab.FaultHuge}, func(t *testing.T, answer reply, err error) {
			if err != nil || len(answer.raw) < 10<<20 || answer.document == nil {
				t.Errorf("%d bytes %v", len(answer.raw), err)
			}
		}, false},
		{lab.Fault{Kind: lab.FaultGzipBomb}, func(t *testing.T, answer reply, err error) {
			reader, gzipErr := gzip.NewReader(strings.NewReader(answer.raw))
			if err != nil || gzipErr != nil || answer.header.Get("Content-Encoding") != "gzip" || len(answer.raw) > 1<<20 {
				t.Fatalf("%d bytes %v %v", len(answer.raw), err, gzipErr)
			}
			if n, err := io.Copy(io.Discard, reader); err != nil || n < 64<<20 {
				t.Errorf("%d bytes %v", n, err)
			}
		}, false},
	} {
		t.Run(test.fault.Kind, func(t *testing.T) {
			c := start(t, lab.Habits{})
			token := c.login(nil).text("refresh_token")
			test.fault.Times = 1
			c.server.SetFault("token:refresh", test.fault)
			answer, err := c.try(c.refreshRequest(token))
			test.check(t, answer, err)
			if used := c.refresh(token, nil).status != http.StatusOK; used != test.used {
				t.Errorf("used: %v", used)
			}
		})
	}
}

func status(status int, contentType, body string) func(*testing.T, reply, error) {
	return func(t *testing.T, answer reply, err error) {
		t.Helper()
		if err != nil || answer.status != status || answer.header.Get("Content-Type") != contentType || !strings.Contains(answer.raw, body) {
			t.Errorf("%d %q %v: %s", answer.status, answer.header.Get("Content-Type"), err, answer.raw)
		}
	}
}

func cut(t *testing.T, answer reply, err error) {
	t.Helper()
	if err == nil || answer.status != 0 {
		t.Errorf("a response: %d", answer.status)
	}
}

// TestEndlessFaults gives up on what never ends; the server goes on.
func TestEndlessFaults(t *testing.T) {
	for kind, answered := range map[string]bool{lab.FaultHang: false, lab.FaultEndless: true} {
		c := start(t, lab.Habits{})
		token := c.login(nil).text("refresh_token")
		c.server.SetFault("token", lab.Fault{Kind: kind, Times: 1})
		gate := c.server.Hold("token:received")
		ctx, cancel := context.WithCancel(t.Context())
		type outcome struct {
			started bool
			err     error
		}
		done := make(chan outcome, 1)
		go func() {
			response, err := c.http.Do(c.refreshRequest(token).WithContext(ctx))
			if err != nil {
				done <- outcome{false, err}
				return
			}
			defer response.Body.Close()
			_, err = io.CopyN(io.Discard, response.Body, 20<<20)
			cancel()
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
			}
			done <- outcome{true, err}
		}()
		if _, err := gate.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		gate.Release()
		if !answered {
			cancel()
		}
		if got := <-done; !errors.Is(got.err, context.Canceled) || got.started != answered {
			t.Errorf("%s: %+v", kind, got)
		}
		cancel()
		c.refresh(token, nil).is(t, http.StatusOK, "")
	}
}

// TestFaultSequence meets faults one after the other, at their own endpoint.
func TestFaultSequence(t *testing.T) {
	c := start(t, lab.Habits{})
	token := c.server.Issue("ana", "", "").Access
	c.server.SetFault("mcp",
		lab.Fault{Kind: lab.FaultStatus, Status: 503, Times: 2},
		lab.Fault{Kind: lab.FaultStatus, Status: 502, Times: 1},
	)
	c.metadata()
	for i, want := range []int{503, 503, 502, 200} {
		if got := c.call(token, "ping", "").status; got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
	c.server.SetFault("*", lab.Fault{Kind: lab.FaultStatus, Status: 500})
	for range 3 {
		if got := c.call(token, "ping", "").status; got != 500 {
			t.Errorf("a fault without end: %d", got)
		}
	}
	c.server.SetFault("*")
	c.metadata()
	if !c.works(token) {
		t.Error("the fault is not cleared")
	}
}

// TestFaultsAtMCP cuts the response of the MCP server itself.
func TestFaultsAtMCP(t *testing.T) {
	var calls atomic.Int32
	inner := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"a":"b"}`)
	})
	c := startWith(t, lab.Habits{}, lab.Options{MCP: inner})
	token := c.server.Issue("ana", "", "").Access
	request := func() *http.Request {
		r := c.request(http.MethodPost, c.server.MCPURL(), "{}")
		r.Header.Set("Authorization", "Bearer "+token)
		return r
	}
	c.server.SetFault("mcp", lab.Fault{Kind: lab.FaultCutAfter, Times: 1}, lab.Fault{Kind: lab.FaultCutBody, Times: 1}, lab.Fault{Kind: lab.FaultType, Times: 1})
	if _, err := c.try(request()); err == nil || calls.Load() != 1 {
		t.Errorf("cut after: %v, %d calls", err, calls.Load())
	}
	if answer, err := c.try(request()); !errors.Is(err, io.ErrUnexpectedEOF) || answer.status != http.StatusAccepted || answer.raw != `{"a"` {
		t.Errorf("cut in body: %v %s", err, answer.raw)
	}
	if answer := c.do(request()); answer.header.Get("Content-Type") != "text/plain; charset=utf-8" || answer.raw != `{"a":"b"}` {
		t.Errorf("type: %s", answer.raw)
	}
	if answer := c.do(request()); answer.status != http.StatusAccepted || calls.Load() != 4 {
		t.Errorf("afterwards: %d", answer.status)
	}
	requests := c.server.Requests()
	if got := requests[len(requests)-1].Status; got != http.StatusAccepted {
		t.Errorf("noted status %d", got)
	}
}

// TestMistakes panics where a test would else wait for what cannot come.
func TestMistakes(t *testing.T) {
	c := start(t, lab.Habits{})
	for name, mistake := range map[string]func(){
		"fault":    func() { c.server.SetFault("mcp", lab.Fault{Kind: "mishap"}) },
		"endpoint": func() { c.server.SetFault("tokens", lab.Fault{Kind: lab.FaultHTML}) },
		"point":    func() { c.server.Hold("token") },
		"station":  func() { c.server.Hold("token:arrived") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			mistake()
		}()
	}
}
