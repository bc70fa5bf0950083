package loopback

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestMatrix sends every combination of Host, Origin, method and path, with
// parameters that would be taken. Only one in a thousand gets that far.
func TestMatrix(t *testing.T) {
	l, j := listen(t, Options{})
	port := l.host[strings.LastIndex(l.host, ":"):]
	type part struct {
		text string
		ok   bool
	}
	hosts := []part{
		{l.host, true}, {"127.0.0.1", false}, {"127.0.0.1:1", false}, {"localhost" + port, false}, {"[::1]" + port, false},
		{"evil.example" + port, false}, {"127.0.0.1.evil.example" + port, false}, {"2130706433" + port, false}, {"x@" + l.host, false},
	}
	origins := []part{
		{"", true}, {"Origin: null", true}, {"Origin: https://evil.example", false}, {"Origin: http://127.0.0.1", false},
		{"Origin: http://" + l.host, false}, {"Origin: null\r\nOrigin: https://evil.example", false}, {"Origin:", false},
	}
	methods := []part{{"GET", true}, {"HEAD", false}, {"POST", true}, {"OPTIONS", false}, {"get", false}}
	paths := []part{
		{"/callback", true}, {"/", false}, {"/callback/", false}, {"/Callback", false}, {"/%63allback", false}, {"/x/../callback", false}, {"/favicon.ico", false},
	}
	combinations, reached := 0, 0
	for _, host := range hosts {
		for _, origin := range origins {
			for _, method := range methods {
				for _, path := range paths {
					combinations++
					raw := fmt.Sprintf("%s %s?code=c&state=forged HTTP/1.1\r\nHost: %s\r\n", method.text, path.text, host.text)
					if origin.text != "" {
						raw += origin.text + "\r\n"
					}
					r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw + "\r\n")))
					if err != nil {
						t.Fatalf("%q: %v", raw, err)
					}
					w := httptest.NewRecorder()
					l.ServeHTTP(w, r)
					want := 400
					switch {
					case !host.ok, !origin.ok:
						want = 403
					case !path.ok:
						want = 404
					case !method.ok:
						want = 405
					default:
						reached++
					}
					if w.Code != want {
						t.Errorf("%q: %d, want %d", raw, w.Code, want)
					}
					if want == 405 && w.Header().Get("Allow") != "GET, POST" {
						t.Errorf("%q: Allow %q", raw, w.Header().Get("Allow"))
					}
				}
			}
		}
	}
	if reached != 4 || j.count() != reached {
		t.Errorf("%d of %d combinations, %d questions", reached, combinations, j.count())
	}
	succeed(t, l)
}

// TestMatrixOnTheWire is a part of the matrix through a socket, where net/http
// has its own opinion.
func TestMatrixOnTheWire(t *testing.T) {
	l, j := listen(t, Options{})
	const good = "/callback?code=c&state=good"
	for _, c := range []struct {
		r      request
		status int
	}{
		{request{target: good, host: "-"}, 400},
		{request{target: good, host: "evil.example"}, 403},
		{request{target: good, headers: []string{"Host: " + l.host}}, 400},
		{request{target: "http://" + l.host + good}, 403},
		{request{target: "http://evil.example" + good}, 403},
		{request{target: good, headers: []string{"Origin: https://evil.example"}}, 403},
		{request{target: good, method: "HEAD"}, 405},
		{request{target: good, method: "POST", headers: []string{"Origin: https://evil.example", "Content-Length: 0"}}, 403},
		{request{target: good, method: "POST", headers: []string{"Sec-Fetch-Mode: no-cors", "Content-Length: 0"}}, 403},
		{request{target: good, headers: []string{"Sec-Fetch-Mode: cors"}}, 403},
		{request{target: good, method: "PUT", headers: []string{"Content-Length: 0"}}, 405},
		{request{target: "/callback?state=forged", method: "POST", headers: []string{"Content-Length: 0"}}, 400},
		{request{target: good, method: "OPTIONS", headers: []string{"Access-Control-Request-Private-Network: true"}}, 405},
		{request{target: "*", method: "OPTIONS"}, 404},
		{request{target: l.host, method: "CONNECT", host: l.host}, 403},
		{request{target: good, headers: []string{"Sec-Purpose: prefetch;prerender"}}, 404},
		{request{target: good, headers: []string{"Purpose: Prefetch"}}, 404},
		{request{target: good, headers: []string{"X-Moz: prefetch"}}, 404},
		{request{target: "/favicon.ico"}, 404},
		{request{target: "/callback2?code=c&state=good"}, 404},
		{request{target: "/callback?state=forged", headers: []string{"Cookie: a=" + strings.Repeat("x", 14<<10)}}, 400},
		{request{target: "/callback?state=forged", headers: []string{"Content-Length: 1000000"}}, 400},
		{request{target: "/callback?state=forged", headers: []string{"Transfer-Encoding: chunked"}}, 400},
	} {
		if a := send(t, l, c.r); a.status != c.status {
			t.Errorf("%.200q: %d, want %d", c.r.text(l), a.status, c.status)
		}
	}
	if j.count() != 4 {
		t.Errorf("Accept was called %d times", j.count())
	}
	// What is too long is not read to its end, and a client that has not sent all
	// of it may see the connection reset in place of the response.
	for _, r := range []request{
		{target: good, headers: []string{"Cookie: a=" + strings.Repeat("x", 32<<10)}},
		{target: good + strings.Repeat("x", 32<<10)},
	} {
		if a, err := exchange(address(l), r.text(l), "GET"); err == nil && a.status != 431 {
			t.Errorf("%.100q: %d", r.text(l), a.status)
		}
	}
	if j.count() != 4 {
		t.Error("Accept was called with a request that is too long")
	}
	succeed(t, l)
}

// TestNoise is a scan, a browser's habits and broken clients; the sign-in then
// succeeds as if nothing had been.
func TestNoise(t *testing.T) {
	l, _ := listen(t, Options{})
	noise := []string{
		"", "\n", "\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00", "SSH-2.0-x\r\n", "EHLO x\r\n", "\x00\x00\x00\x00",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /callback HTTP/1.1\r\n", "GET /callback?code=c&state=forged HTTP/1.0\r\n\r\n", "OPTIONS * RTSP/1.0\r\n\r\n",
		"GET /callback?code=c&state=good HTTP/1.1\r\nHost: evil.example\r\n\r\n", "GET /callback?code=%00&state=%ff HTTP/1.1\r\nHost: " + l.host + "\r\n\r\n",
		strings.Repeat("A", 64<<10), "GET /" + strings.Repeat("a/", 3000) + " HTTP/1.1\r\nHost: " + l.host + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: " + l.host + "\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"POST /callback?code=c HTTP/1.1\r\nHost: " + l.host + "\r\nContent-Length: 100\r\n\r\nstate=good",
	}
	for i := range 100 {
		c, err := net.Dial("tcp", address(l))
		if err != nil {
			t.Fatal(err)
		}
		// An error here is the Listener's right: it hangs up on such clients.
		_, _ = io.WriteString(c, noise[i%len(noise)])
		if i%3 == 0 {
			c.Close()
		} else {
			defer c.Close() // and says nothing more
		}
	}
	secure := tls.Client(dial(t, l), &tls.Config{InsecureSkipVerify: true})
	if err := secure.HandshakeContext(t.Context()); err == nil {
		t.Error("there is no TLS here")
	}
	secure.Close()
	succeed(t, l)
}

// TestCrowd has more connections that say nothing than are kept. The browser
// comes in, and one that waits for its page is not put out.
func TestCrowd(t *testing.T) {
	l, _ := listen(t, Options{})
	for range maxConns + 8 {
		defer dial(t, l).Close()
	}
	responses := later(t, l, request{target: l.path + "?code=c&state=good"})
	if _, err := wait(t, l); err != nil {
		t.Fatal(err)
	}
	var last net.Conn
	for range 2 * maxConns {
		last = dial(t, l)
		defer last.Close()
	}
	// The newest of them is served, so all have been accepted.
	if _, err := io.WriteString(last, request{target: "/x"}.text(l)); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(last), nil); err != nil || resp.StatusCode != 404 {
		t.Fatal(resp, err)
	}
	l.Finish(Page{})
	if a := <-responses; a.status != 200 {
		t.Errorf("%d", a.status)
	}
}

// TestBodyIsNotAwaited has a client that announces a body and does not send it.
func TestBodyIsNotAwaited(t *testing.T) {
	l, _ := listen(t, Options{})
	for _, method := range []string{"GET", "POST"} {
		c := dial(t, l)
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, request{method: method, headers: []string{"Content-Length: 1000"}}.text(l)); err != nil {
			t.Fatal(err)
		}
		if response, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(response), "HTTP/1.1 40") {
			t.Errorf("%s: %.40q, %v", method, response, err)
		}
	}
}

func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address(l))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// FuzzRequest sends requests of any kind to a handler and checks what may have
// come of them.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET /callback?code=c&state=good HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
		"GET /callback?code=c&state=forged HTTP/1.1\r\nHost: 127.0.0.1:8765\r\nOrigin: null\r\n\r\n",
		"GET /callback?code=c&state=good&state=good HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
		"GET /callback?error=<script>alert(1)</script>&state=good HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
		"GET /callback?state=good HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"GET http://127.0.0.1:8765/callback?state=good HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
		"POST /callback HTTP/1.1\r\nHost: 127.0.0.1:8765\r\nContent-Length: 10\r\n\r\nstate=good",
		"POST /callback?state=good HTTP/1.1\r\nHost: 127.0.0.1:8765\r\nContent-Length: 3\r\n\r\na=b",
		"POST /callback HTTP/1.1\r\nHost: 127.0.0.1:8765\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\nstate=good",
		"HEAD /callback?state=good HTTP/1.0\r\n\r\n",
		"GET /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:8765\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(raw))))
		if err != nil {
			return
		}
		j := new(stateChecker)
		l := unplugged(t, j.accept)
		ended := make(chan struct{})
		go func() {
			select {
			case <-l.received:
				l.Finish(Page{Err: fmt.Errorf("it said %q", l.response.params.Encode())})
			case <-ended:
			}
		}()
		w := httptest.NewRecorder()
		l.ServeHTTP(w, r)
		close(ended)
		checkPage(t, w.Code, w.Header(), w.Body.String())
		taken := w.Code == 200
		if l.response != nil != taken {
			t.Fatalf("status %d, response %v", w.Code, l.response)
		}
		if !taken && j.count() > 0 && w.Code != 400 {
			t.Fatalf("Accept was called, and the status is %d", w.Code)
		}
		if j.count() == 0 {
			return
		}
		path, query, _ := strings.Cut(r.RequestURI, "?")
		if r.Method != "GET" && r.Method != "POST" || !strings.EqualFold(r.Host, l.host) || path != "/callback" || strings.Count(query, "state=") > 1 && strings.Contains(query, "&state=good&state=") {
			t.Fatalf("Accept was called with %q", raw)
		}
		for _, o := range r.Header.Values("Origin") {
			if o != "null" {
				t.Fatalf("Accept was called for origin %q", o)
			}
		}
	})
}
