package webpage

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// respondRaw has server "one" respond to every request with the bytes of response.
func (s *served) respondRaw(t *testing.T, response string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(conn, response)
			}
			conn.Close()
		}
	}()
	s.fakeBackend.upstream = "http://" + l.Addr().String() + "/mcp"
}

// TestResponsesThatUndoTheProtection are valid for an HTTP client, and still may take neither the
// headers of the page nor bring any of the server's own.
func TestResponsesThatUndoTheProtection(t *testing.T) {
	const page = "Content-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
	const evil = "Link: <https://evil.example>; rel=preload\r\nSet-Cookie: a=b\r\n"
	for name, c := range map[string]struct {
		response string
		status   int
	}{
		"early hints":      {"HTTP/1.1 103 Early Hints\r\n" + evil + "\r\nHTTP/1.1 200 OK\r\n" + page, 200},
		"processing":       {"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n" + page, 200},
		"unknown 1xx":      {"HTTP/1.1 199 What\r\n" + evil + "\r\nHTTP/1.1 403 No\r\n" + page, 403},
		"continue":         {"HTTP/1.1 100 Continue\r\n" + evil + "\r\nHTTP/1.1 200 OK\r\n" + page, 200},
		"switch":           {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", 502},
		"no status at all": {"HTTP/1.1 000 \r\n" + page, 502},
		"a tiny status":    {"HTTP/1.1 042 What\r\n" + page, 502},
		"a large status":   {"HTTP/1.1 999 What\r\n" + page, 999},
		"two lengths":      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}...", 503},
		"a trailer": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\nConnection: close\r\n\r\n" +
			"2\r\n{}\r\n0\r\n" + evil + "\r\n", 200},
		"a trailer without notice": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" +
			"2\r\n{}\r\n0\r\n" + evil + "\r\n", 200},
		"a prefixed trailer": {"HTTP/1.1 200 OK\r\nTrailer:Link: x\r\nContent-Length: 2\r\n\r\n{}", 200},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, nil)
			s.respondRaw(t, c.response)
			conn, err := net.Dial("tcp", s.host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST /mcp/one HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer bearer-of-one\r\n"+
				"Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", s.host)
			raw, _ := io.ReadAll(conn)
			if text := strings.ToLower(string(raw)); strings.Contains(text, "evil") || strings.Contains(text, "set-cookie") {
				t.Errorf("the server's own headers come back:\n%s", raw)
			}
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(raw))), nil)
			if err != nil {
				t.Fatal(err, string(raw))
			}
			if resp.StatusCode != c.status || resp.Header.Get("Content-Security-Policy") != policy ||
				resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s", raw)
			}
		})
	}
}
