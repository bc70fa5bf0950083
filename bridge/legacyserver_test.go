package bridge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// ofBefore is a server of before 2026-07-28 that responds to calls of tools with a status. It
// keeps the contexts of those.
type ofBefore struct {
	status int
	calls  []context.Context
}

func (s *ofBefore) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusAccepted, Request: r, Body: http.NoBody}
	if r.Method == http.MethodGet {
		resp.StatusCode = http.StatusMethodNotAllowed
	}
	if r.Method != http.MethodPost {
		return resp, nil
	}
	raw, _ := io.ReadAll(r.Body)
	m, err := parse(raw)
	if err != nil {
		return nil, err
	}
	switch m.name() {
	case "server/discover":
		resp.StatusCode = http.StatusMethodNotAllowed
	case "initialize":
		resp.StatusCode = http.StatusOK
	case "tools/call":
		resp.StatusCode = s.status
		s.calls = append(s.calls, r.Context())
	}
	if resp.StatusCode != http.StatusAccepted {
		resp.Header = http.Header{"Content-Type": {jsonType}}
		resp.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(
			`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}`, m.id)))
		resp.ContentLength = -1
	}
	return resp, nil
}

// TestTranslatedRequestsAreForgotten: of a request that is over nothing is kept, whether it was
// carried out or not.
func TestTranslatedRequestsAreForgotten(t *testing.T) {
	for _, status := range []int{200, 400, 500} {
		synctest.Test(t, func(t *testing.T) {
			server := &ofBefore{status: status}
			life, end := context.WithCancel(t.Context())
			f := newFront(life, end, Options{URL: "http://server.example/mcp", HTTP: &http.Client{Transport: server}})
			b := f.current()
			for i := range 20 {
				b.accept(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, i))
				synctest.Wait()
			}
			b.mu.Lock()
			if n := len(b.owned) + len(b.calls); n != 0 {
				t.Errorf("status %d: %d requests are kept", status, n)
			}
			b.mu.Unlock()
			if len(server.calls) != 20 {
				t.Errorf("status %d: %d calls came", status, len(server.calls))
			}
			for _, ctx := range server.calls {
				if ctx.Err() == nil {
					t.Fatalf("status %d: the context of a request that is over goes on", status)
				}
			}
			end()
			f.work.Wait()
		})
	}
}
