package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const (
	wholeResult = `"result":{"content":[{"type":"text","text":"done"}]}`
	wholeList   = `"result":{"tools":[
		{"name":"do","inputSchema":{"type":"object","properties":{"x":true,"n":{"type":"integer"}}}},
		{"name":"odd","title":5,"inputSchema":true}]}`
)

// bare is a server without sessions; respond returns the status and what a response holds
// besides its id. begun: it got notifications/initialized.
func bare(respond func(method string, begun bool) (int, string)) *requestLog {
	begun := false // the requests of a test come one after the other
	return &requestLog{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		switch {
		case r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&m) != nil:
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		case m.ID == nil:
			begun = begun || m.Method == "notifications/initialized"
			w.WriteHeader(http.StatusAccepted)
			return
		}
		status, rest := http.StatusOK, `"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}`
		if m.Method != "initialize" {
			status, rest = respond(m.Method, begun)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		id := string(m.ID)
		if status != http.StatusOK {
			id = "null"
		}
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+id+`,`+rest+`}`)
	})}
}

// onceAt runs a command and returns the exit code, what it wrote, and how often a tool was called.
func onceAt(t *testing.T, log *requestLog, command string, args ...string) (code int, out, problems string, calls int) {
	t.Helper()
	server := httptest.NewServer(log)
	defer server.Close()
	var o, p bytes.Buffer
	code = Run(t.Context(), append([]string{command, server.URL, "--timeout", "20s"}, args...), Process{
		Environ: []string{"HANDSTAMP_STORE=file", "HANDSTAMP_HOME=" + t.TempDir(), "HANDSTAMP_ACCESS_TOKEN=token"}, Stdout: &o, Stderr: &p,
	})
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, method := range log.got {
		if method == "tools/call" {
			calls++
		}
	}
	return code, o.String(), p.String(), calls
}

// A tool's own error makes no call be sent twice, whatever it mentions and whatever its code.
func TestCallIsNotSentTwiceForAToolsError(t *testing.T) {
	for _, failure := range []string{
		`{"code":-32600,"message":"the database is not initialized"}`,
		`{"code":-32002,"message":"Server not initialized"}`,
		`{"code":-32602,"message":"Received request before initialization was complete"}`,
		`{"code":-32000,"message":"initialize first"}`,
	} {
		code, _, problems, calls := onceAt(t, bare(func(method string, _ bool) (int, string) {
			if method == "tools/list" {
				return http.StatusOK, wholeList
			}
			return http.StatusOK, `"error":` + failure
		}), "call", "do")
		if code != exitOther || calls != 1 {
			t.Errorf("%s: exit code %d, %d calls: %s", failure, code, calls, problems)
		}
	}
}

// A server without sessions that wants notifications/initialized gets it,
// however it says so.
func TestCallBeginsTheSessionWhereItHasTo(t *testing.T) {
	for _, test := range []struct {
		status  int
		failure string
	}{
		{200, `{"code":-32600,"message":"Not initialized"}`},
		{200, `{"code":-32000,"message":"Server not initialized"}`},
		{200, `{"code":-32602,"message":"Received request before initialization was complete"}`},
		{200, `{"code":-32602,"message":"Invalid request parameters"}`},
		{200, `{"code":-32603,"message":"client has not sent the initialized notification"}`},
		{400, `{"code":-32000,"message":"Bad Request: Server not initialized"}`},
	} {
		for _, args := range [][]string{{"call", "do"}, {"call", "do", "x=1"}, {"tools"}} {
			code, out, problems, _ := onceAt(t, bare(func(method string, begun bool) (int, string) {
				switch {
				case !begun:
					return test.status, `"error":` + test.failure
				case method == "tools/list":
					return http.StatusOK, wholeList
				}
				return http.StatusOK, wholeResult
			}), args[0], args[1:]...)
			if code != 0 || !strings.Contains(out, "do") {
				t.Errorf("%v, %d %s: exit code %d, %q: %s", args, test.status, test.failure, code, out, problems)
			}
		}
	}
}

// An error that cannot be read is an error, and the command ends with it.
func TestCallEndsWithAnUnreadableError(t *testing.T) {
	const invalid = "its error has no code or no message"
	for failure, want := range map[string]struct {
		code int
		text string
	}{
		`"boom"`:                               {exitProtocol, invalid},
		`{"code":"E_BOOM","message":"boom"}`:   {exitProtocol, invalid},
		`{"code":-1.5,"message":"boom"}`:       {exitOther, "boom"},
		`{"code":1e30,"message":"boom"}`:       {exitOther, "boom"},
		`{"code":-32000,"message":{"text":1}}`: {exitProtocol, invalid},
		`7`:                                    {exitProtocol, invalid},
		`[]`:                                   {exitProtocol, invalid},
	} {
		code, _, problems, calls := onceAt(t, bare(func(method string, _ bool) (int, string) {
			if method == "tools/list" {
				return http.StatusOK, wholeList
			}
			return http.StatusOK, `"error":` + failure
		}), "call", "do")
		if code != want.code || calls != 1 || !strings.Contains(problems, want.text) {
			t.Errorf("%s: exit code %d, %d calls: %s", failure, code, calls, problems)
		}
	}
}

// Members whose names differ by their case are others.
func TestCallTakesNamesExactly(t *testing.T) {
	for _, more := range []string{`"ID":7`, `"Method":"x"`, `"Error":"no"`, `"RESULT":{}`} {
		code, out, problems, calls := onceAt(t, bare(func(string, bool) (int, string) {
			return http.StatusOK, wholeResult + "," + more
		}), "call", "do")
		if code != 0 || calls != 1 || out != "done\n" {
			t.Errorf("%s: exit code %d, %d calls, %q: %s", more, code, calls, out, problems)
		}
	}
}

// A tool with a schema that is true, or with a member of another type, is listed and called.
func TestToolsListsEachTool(t *testing.T) {
	respond := func(method string, _ bool) (int, string) {
		if method == "tools/list" {
			return http.StatusOK, wholeList
		}
		return http.StatusOK, wholeResult
	}
	code, out, problems, _ := onceAt(t, bare(respond), "tools")
	names := strings.Fields(out)
	if code != 0 || !slices.Contains(names, "do") || !slices.Contains(names, "odd") {
		t.Errorf("exit code %d, %q: %s", code, out, problems)
	}
	if code, out, problems, _ = onceAt(t, bare(respond), "call", "do", "n=5", "x=true"); code != 0 || out != "done\n" {
		t.Errorf("exit code %d, %q: %s", code, out, problems)
	}
}

// What is harmlessly wrong in a tool's result is shown as far as it can be read, as other
// clients do; a result without anything to show is the server's fault.
func TestCallShowsAResultThatIsSlightlyWrong(t *testing.T) {
	for result, want := range map[string]struct {
		code int
		out  string
	}{
		`{"content":[{"type":"image","mimeType":"image/png","data":"no base64!"},{"type":"text","text":"done"}]}`: {
			0, "[image, image/png; --json shows it]\ndone\n"},
		`{"content":[{"type":"audio","mimeType":5,"data":7},"odd",{"type":"text","text":"done"}]}`: {
			0, "[audio; --json shows it]\n[unreadable content; --json shows it]\ndone\n"},
		`{"content":[{"type":"text","text":"done"}],"isError":"false"}`:  {0, "done\n"},
		`{"content":[{"type":"text","text":"done"}],"isError":0}`:        {0, "done\n"},
		`{"content":[{"type":"text","text":"done"}],"isError":null}`:     {0, "done\n"},
		`{"content":[{"type":"text","text":"broken"}],"isError":"true"}`: {exitOther, ""},
		`{"content":[{"type":"text","text":"broken"}],"isError":1}`:      {exitOther, ""},
		`{"content":{"type":"text","text":"done"}}`:                      {0, "done\n"},
		`{"content":null,"structuredContent":{"a":1}}`:                   {0, "{\"a\":1}\n"},
		`{"content":"done"}`: {exitProtocol, ""},
	} {
		code, out, problems, _ := onceAt(t, bare(func(string, bool) (int, string) {
			return http.StatusOK, `"result":` + result
		}), "call", "do")
		if code != want.code || out != want.out {
			t.Errorf("%s: exit code %d, %q: %s", result, code, out, problems)
		}
		if code == exitOther && !strings.Contains(problems, "broken") {
			t.Errorf("%s: %s", result, problems)
		}
	}
}

// A server that goes down in the middle of a session is an error that names the next step.
func TestCallNamesTheNextStepWhenTheServerGoesDown(t *testing.T) {
	var server *httptest.Server
	log := bare(func(string, bool) (int, string) {
		go server.Config.Close()
		panic(http.ErrAbortHandler)
	})
	server = httptest.NewServer(log)
	defer server.Close()
	var p bytes.Buffer
	code := Run(t.Context(), []string{"call", server.URL, "do", "--timeout", "20s"}, Process{
		Environ: []string{"HANDSTAMP_STORE=file", "HANDSTAMP_HOME=" + t.TempDir(), "HANDSTAMP_ACCESS_TOKEN=token"}, Stderr: &p,
	})
	if code != exitUnreachable || !strings.Contains(p.String(), "before you repeat it; to see whether the server is back, run: handstamp tools "+server.URL) {
		t.Errorf("exit code %d: %s", code, p.String())
	}
}
