package loopback

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// stateChecker is an Accept that expects the state "good" and counts its calls.
type stateChecker struct {
	mu    sync.Mutex
	calls int
	final error // the result for the expected response
}

func (j *stateChecker) accept(params url.Values) error {
	j.mu.Lock()
	j.calls++
	final := j.final
	j.mu.Unlock()
	if params.Get("state") != "good" {
		return fmt.Errorf("another user's: %w", ErrIgnore)
	}
	return final
}

func (j *stateChecker) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.calls
}

// listen returns a Listener that ends with the test.
func listen(t *testing.T, o Options) (*Listener, *stateChecker) {
	t.Helper()
	j := new(stateChecker)
	if o.Accept == nil {
		o.Accept = j.accept
	}
	l, err := Listen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, j
}

// request is what is sent to a Listener. The zero value is a browser's GET of the
// callback without parameters.
type request struct {
	method  string
	target  string // path and query
	host    string // "-" for none
	headers []string
	address string // to connect to
}

// text returns the request as it is sent to l.
func (r request) text(l *Listener) string {
	if r.method == "" {
		r.method = "GET"
	}
	if r.target == "" {
		r.target = l.path
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.method, r.target)
	switch r.host {
	case "":
		fmt.Fprintf(&b, "Host: %s\r\n", l.host)
	case "-":
	default:
		fmt.Fprintf(&b, "Host: %s\r\n", r.host)
	}
	for _, h := range r.headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// address returns where l listens.
func address(l *Listener) string {
	return strings.Replace(l.host, "localhost", "127.0.0.1", 1)
}

// responseOf is a response, read to its end.
type responseOf struct {
	status int
	header http.Header
	body   string
}

// exchange sends raw bytes and reads the response.
func exchange(address, raw, method string) (responseOf, error) {
	c, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		return responseOf{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return responseOf{}, err
	}
	if _, err := io.WriteString(c, raw); err != nil {
		return responseOf{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return responseOf{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return responseOf{resp.StatusCode, resp.Header, string(body)}, err
}

// send sends r to l.
func send(t *testing.T, l *Listener, r request) responseOf {
	t.Helper()
	to := r.address
	if to == "" {
		to = address(l)
	}
	a, err := exchange(to, r.text(l), r.method)
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return a
}

// later sends r to l and delivers the response, which may take until Finish.
func later(t *testing.T, l *Listener, r request) <-chan responseOf {
	t.Helper()
	to, raw := address(l), r.text(l)
	responses := make(chan responseOf, 1)
	go func() {
		a, err := exchange(to, raw, r.method)
		if err != nil {
			t.Errorf("%+v: %v", r, err)
		}
		responses <- a
	}()
	return responses
}

// succeed completes a sign-in, whatever happened before.
func succeed(t *testing.T, l *Listener) {
	t.Helper()
	responses := later(t, l, request{target: l.path + "?code=c&state=good"})
	params, err := wait(t, l)
	if err != nil || params.Get("code") != "c" {
		t.Fatalf("%v, %v", params, err)
	}
	select {
	case a := <-responses:
		t.Fatalf("a page before the result is known: %d", a.status)
	default:
	}
	l.Finish(Page{})
	if a := <-responses; a.status != 200 || !strings.Contains(a.body, "You are signed in.") || strings.Contains(a.body, "already") {
		t.Errorf("%d, %s", a.status, a.body)
	}
}

// wait is Wait with a bound.
func wait(t *testing.T, l *Listener) (url.Values, error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the test waits without success"))
	defer cancel()
	return l.Wait(ctx)
}
