package oauth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/proctest"
)

func refreshAt(endpoint string) TokenRequest {
	return TokenRequest{Endpoint: endpoint, Client: ClientCredentials{ID: "c", Method: MethodNone}, RefreshToken: "R1"}
}

func TestPostTokenForms(t *testing.T) {
	var form url.Values
	var header http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		form, header = r.PostForm, r.Header.Clone()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "7")
		w.Header().Set("X-Other", "x")
		io.WriteString(w, `{"access_token":"A"}`)
	})
	none := ClientCredentials{ID: "c", Method: MethodNone}
	for _, tc := range []struct {
		name string
		req  TokenRequest
		want url.Values
		auth string
	}{
		{"code", TokenRequest{Client: none, Code: "C", RedirectURI: "http://127.0.0.1/cb", Verifier: "V", Resource: "https://rs.example/mcp"},
			url.Values{"grant_type": {"authorization_code"}, "code": {"C"}, "redirect_uri": {"http://127.0.0.1/cb"}, "code_verifier": {"V"}, "resource": {"https://rs.example/mcp"}, "client_id": {"c"}}, ""},
		{"refresh", TokenRequest{Client: none, RefreshToken: "R&=+ ä", Resource: "https://rs.example", Scope: "a b"},
			url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"R&=+ ä"}, "resource": {"https://rs.example"}, "scope": {"a b"}, "client_id": {"c"}}, ""},
		{"no resource", TokenRequest{Client: none, RefreshToken: "R"}, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"R"}, "client_id": {"c"}}, ""},
		{"extra replaces nothing", TokenRequest{Client: none, RefreshToken: "R", Extra: url.Values{"audience": {"x"}, "grant_type": {"x"}, "client_secret": {"x"}, "resource": {"x"}}},
			url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"R"}, "client_id": {"c"}, "audience": {"x"}}, ""},
		{"basic", TokenRequest{Client: ClientCredentials{ID: "c", Secret: "s", Method: MethodBasic}, RefreshToken: "R"},
			url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"R"}}, "Basic Yzpz"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.req.Endpoint = s.URL
			a, err := fetcher(t).PostToken(t.Context(), tc.req)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(form, tc.want) || header.Get("Authorization") != tc.auth {
				t.Errorf("sent %v with %q\nwant %v with %q", form, header.Get("Authorization"), tc.want, tc.auth)
			}
			if ct := header.Get("Content-Type"); ct != "application/x-www-form-urlencoded" || header.Get("Accept") != "application/json" || header.Get("Idempotency-Key") != "" {
				t.Errorf("headers %v", header)
			}
			if a.Status != 200 || a.ContentType != "application/json" || a.Truncated || a.Header.Get("Retry-After") != "7" || a.Header.Get("X-Other") != "" || a.ReceivedAt.IsZero() {
				t.Errorf("response %+v", a)
			}
			if text := fmt.Sprintf("%v %+v %#v", a, *a, *a); strings.Contains(text, "access_token") {
				t.Errorf("a printed response shows its body: %s", text)
			}
		})
	}
}

func TestPostTokenDoesNotSend(t *testing.T) {
	c := newCanary(t)
	good := refreshAt(c.URL)
	for name, change := range map[string]func(*TokenRequest){
		"both":           func(r *TokenRequest) { r.Code = "C" },
		"neither":        func(r *TokenRequest) { r.RefreshToken = "" },
		"no client":      func(r *TokenRequest) { r.Client = nil },
		"broken client":  func(r *TokenRequest) { r.Client = ClientCredentials{ID: "c", Method: MethodPost} },
		"http":           func(r *TokenRequest) { r.Endpoint = "http://as.example/token" },
		"no endpoint":    func(r *TokenRequest) { r.Endpoint = "" },
		"user in URL":    func(r *TokenRequest) { r.Endpoint = strings.Replace(c.URL, "//", "//u:p@", 1) },
		"endpoint's tag": func(r *TokenRequest) { r.Endpoint += "/#x" },
	} {
		req := good
		change(&req)
		a, err := fetcher(t).PostToken(t.Context(), req)
		if _, sent := errtype.As[*SendError](err); a != nil || err == nil || sent {
			t.Errorf("%s: %v, %v; want an error before anything is tried", name, a, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fetcher(t).PostToken(ctx, good); errorKind(false, err) != "not sent" || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
}

// rawServer responds to each connection with what handle writes, after it has read a
// whole request, and closes it. It counts requests.
func rawServer(t *testing.T, handle func(conn net.Conn, req *http.Request)) (endpoint string, requests *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(time.Minute))
			req, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil {
				io.Copy(io.Discard, req.Body)
				requests.Add(1)
				handle(conn, req)
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String() + "/token", requests
}

// TestSentOrNot distinguishes a request that never arrived from one that may have arrived;
// neither is repeated.
func TestSentOrNot(t *testing.T) {
	plain, plainRequests := rawServer(t, func(net.Conn, *http.Request) {})
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	reset, resets := rawServer(t, func(c net.Conn, _ *http.Request) { c.(*net.TCPConn).SetLinger(0) })
	garbage, garbages := rawServer(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n") })
	cut, cuts := rawServer(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Ty") })

	for _, tc := range []struct {
		name, endpoint, want string
		requests             *atomic.Int32
		wantRequests         int32
	}{
		{"nothing listens", "http://" + proctest.UnreachableAddress(t), "not sent", nil, 0},
		{"no TLS there", strings.Replace(plain, "http:", "https:", 1), "not sent", plainRequests, 0},
		{"untrusted certificate", untrusted.URL, "not sent", nil, 0},
		{"closed without a response", plain, "in doubt", plainRequests, 1},
		{"reset", reset, "in doubt", resets, 1},
		{"not HTTP", garbage, "in doubt", garbages, 1},
		{"header cut off", cut, "in doubt", cuts, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := fetcher(t).PostToken(t.Context(), refreshAt(tc.endpoint))
			if got := errorKind(a != nil, err); got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
			if tc.requests != nil && tc.requests.Load() != tc.wantRequests {
				t.Errorf("%d requests arrived, want %d", tc.requests.Load(), tc.wantRequests)
			}
		})
	}
}

// TestBlockedIsNotSent: what the guard rejects has not been sent.
func TestBlockedIsNotSent(t *testing.T) {
	c := newCanary(t)
	f := &Fetcher{HTTP: by(Guard(&http.Transport{}, nil))}
	_, err := f.PostToken(t.Context(), refreshAt(c.URL))
	if _, ok := errtype.As[*BlockedError](err); !ok || errorKind(false, err) != "not sent" {
		t.Errorf("error %v, want a *SendError with a *BlockedError in it", err)
	}
}

// failing is a RoundTripper that says nothing about when it writes.
type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("broken") }

func TestUnknownTransportIsInDoubt(t *testing.T) {
	_, err := (&Fetcher{HTTP: by(failing{})}).PostToken(t.Context(), refreshAt("https://as.example/token"))
	if errorKind(false, err) != "in doubt" {
		t.Errorf("error %v, want one in doubt", err)
	}
}

// TestCutOffResponse closes the connection at every offset of the body. The tokens
// that had arrived are read; what is cut is never taken for whole.
func TestCutOffResponse(t *testing.T) {
	const body = `{"access_token":"A2","expires_in":3600,"refresh_token":"R2","scope":"a b"}`
	offset := make(chan int, 1)
	endpoint, requests := rawServer(t, func(c net.Conn, _ *http.Request) {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:<-offset])
	})
	f := fetcher(t)
	for n := range len(body) + 1 {
		offset <- n
		a, err := f.PostToken(t.Context(), refreshAt(endpoint))
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		whole := n == len(body)
		if a.Truncated == whole || a.Body.Reveal() != body[:n] {
			t.Fatalf("cut at %d: truncated %v, body %q", n, a.Truncated, a.Body.Reveal())
		}
		token, err := ParseTokenResponse(a)
		hasAccess, hasRefresh := strings.Contains(body[:n], `"A2"`), strings.Contains(body[:n], `"R2"`)
		switch {
		case !hasAccess:
			if token != nil || errorKind(false, err) != "in doubt" {
				t.Errorf("cut at %d: %+v, %v; want a request in doubt", n, token, err)
			}
		case err != nil:
			t.Errorf("cut at %d: %v", n, err)
		case token.AccessToken != "A2" || (token.RefreshToken == "R2") != hasRefresh || token.Partial == whole:
			t.Errorf("cut at %d: access %q, refresh %q, partial %v", n, token.AccessToken.Reveal(), token.RefreshToken.Reveal(), token.Partial)
		case token.ExpiresIn != 0 && token.ExpiresIn.Seconds() != 3600:
			t.Errorf("cut at %d: lives for %v", n, token.ExpiresIn)
		}
	}
	if got := requests.Load(); int(got) != len(body)+1 {
		t.Errorf("%d requests for %d calls", got, len(body)+1)
	}
}

// TestEndlessTokenResponse: a response without end is cut off and the tokens at its
// beginning are kept.
func TestEndlessTokenResponse(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"access_token":"A","refresh_token":"R","x":"`)
		endless([]byte(strings.Repeat("x", 32<<10)))(w)
	})
	a, err := fetcher(t).PostToken(t.Context(), refreshAt(s.URL))
	if err != nil || !a.Truncated || len(a.Body) != maxToken {
		t.Fatalf("%v, %v", a, err)
	}
	if token, err := ParseTokenResponse(a); err != nil || token.RefreshToken != "R" || !token.Partial {
		t.Errorf("%+v, %v", token, err)
	}
}

// TestFreshConnections: a token request never shares a connection, over HTTP/1
// or HTTP/2, and leaves none behind.
func TestFreshConnections(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			var opened atomic.Int32
			var proto atomic.Value
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				proto.Store(r.Proto)
				io.WriteString(w, `{"access_token":"A"}`)
			}))
			s.EnableHTTP2 = http2
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					opened.Add(1)
				}
			}
			s.StartTLS()
			defer s.Close()
			f := trusting(t, s)
			for range 2 {
				if _, err := f.document(t.Context(), PurposeServer, s.URL); err != nil {
					t.Fatal(err)
				}
			}
			if got := opened.Load(); got != 1 {
				t.Fatalf("two documents took %d connections, want 1", got)
			}
			for i := range int32(3) {
				if _, err := f.PostToken(t.Context(), refreshAt(s.URL)); err != nil {
					t.Fatal(err)
				}
				if got := opened.Load(); got != i+2 {
					t.Fatalf("%d connections after %d token requests", got, i+1)
				}
			}
			if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2]; proto.Load() != want {
				t.Errorf("spoke %v, want %s", proto.Load(), want)
			}
		})
	}
}
