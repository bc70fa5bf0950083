package webpage

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// Whoever sends no body, or a part of it, keeps no connection; with a bearer, without one, and on
// the page.
func TestBodiesHaveADeadline(t *testing.T) {
	s := serve(t, http.NotFoundHandler())
	s.page.bodyTime = 50 * time.Millisecond
	const (
		bearer = "Authorization: Bearer bearer-of-one\r\nContent-Type: application/json\r\n"
		form   = "Content-Type: application/x-www-form-urlencoded\r\n"
	)
	for _, c := range []struct {
		path, headers, body string
		status              int
	}{
		{"/mcp/one", "Content-Length: 100\r\n", "", 401},
		{"/mcp/one", "Content-Length: 100\r\n", "{", 401},
		{"/mcp/one", "Transfer-Encoding: chunked\r\n", "5\r\n{", 401},
		{"/mcp/one", "Content-Length: 100000000\r\n", "{", 401},
		{"/mcp/one", "Content-Length: 100\r\n" + bearer, "{", 408},
		{"/mcp/one", "Transfer-Encoding: chunked\r\n" + bearer, "1\r\n{\r\n", 408},
		{PathLink, "Content-Length: 100\r\n" + form, "guard=", 401},
		{"/elsewhere", "Content-Length: 100\r\n", "", 401},
	} {
		t.Run(c.path+" "+c.headers, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\n%s", c.path, s.host, c.headers, c.body)
			reader := bufio.NewReader(conn)
			resp, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = reader.Discard(int(resp.ContentLength))
			if resp.StatusCode != c.status {
				t.Errorf("%d, want %d", resp.StatusCode, c.status)
			}
			if _, err := reader.ReadByte(); err == nil || ctx.Err() != nil {
				t.Errorf("the connection stays: %v", err)
			}
		})
	}
}

// A response that takes longer than a body may take is not cut off, be it that of a stream that was
// requested with a body.
func TestResponsesHaveNoDeadline(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		t.Run(method, func(t *testing.T) {
			arrived, release := make(chan struct{}), make(chan struct{})
			gone := make(chan struct{})
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream") // passed on at once
				_ = http.NewResponseController(w).Flush()
				close(arrived)
				select {
				case <-release:
					fmt.Fprint(w, "whole")
				case <-r.Context().Done():
					close(gone)
				}
			}))
			s.page.bodyTime = 50 * time.Millisecond
			go func() {
				<-arrived
				select {
				case <-gone:
				case <-time.After(4 * s.page.bodyTime): // the wait that is tested
				}
				close(release)
			}()
			if r, body := s.do(t, s.c, method, "/mcp/one", "{}", mcpHeader()); r.StatusCode != 200 || body != "whole" {
				t.Errorf("%d, %q", r.StatusCode, body)
			}
		})
	}
}
